"""Callers that take more than their share, on purpose or not. ``faults`` runs each in a process of its own:

``python -m benchmarks.attacks NAME COUNT GRPC_PORT HTTP_PORT`` prints ``ready`` once all ``COUNT`` callers have begun,
and continues until it is killed. Callers never parse an answer, so that the server is the one that works.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from typing import Any

import grpc.aio

from benchmarks.http2 import MAX_WINDOW, Connection
from nextchar.v1 import generation_pb2 as pb

_SERVICE = "/nextchar.v1.GenerationService/"
_LIMIT = 2**20  # bytes of the largest message that the server receives
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_LONG = 100_000  # characters: the most that a request may generate
_BOMB_PAUSE = 0.1

Attack = Callable[[int, int, int], Coroutine[Any, Any, None]]


async def alternatives(callers: int, port: int, _: int) -> None:
    """Reads endless streams with 20 alternatives per character."""
    message = _long(20)

    async def read() -> None:
        connection = await Connection.open(port, window=MAX_WINDOW)
        serving = asyncio.create_task(connection.serve())
        while not serving.done():
            connection.call(_SERVICE + "GenerateStream", message)
            await connection.ended()

    await _all(callers, read)


async def texts(callers: int, port: int, _: int) -> None:
    """Asks for the longest texts, whole."""
    await _repeat(callers, port, "Generate", _long(None))


async def scores(callers: int, port: int, _: int) -> None:
    """Scores the longest texts."""
    await _repeat(callers, port, "Score", pb.ScoreRequest(text="to be " * 10_922).SerializeToString())


async def bias(callers: int, port: int, _: int) -> None:
    """Sends biases of as many keys as the largest message holds."""
    await _repeat(callers, port, "Generate", _biased(_LIMIT // 16))


async def many_bias(callers: int, port: int, _: int) -> None:
    """Sends biases of a million keys, in messages far too large."""
    await _repeat(callers, port, "Generate", _biased(1_000_000))


async def stops(callers: int, port: int, _: int) -> None:
    """Sends as many stop sequences as the largest message holds."""
    parameters = pb.GenerationParameters(stop_sequences=["a"] * (_LIMIT // 4))
    await _repeat(callers, port, "Generate", pb.GenerateRequest(parameters=parameters).SerializeToString())


async def prompts(callers: int, port: int, _: int) -> None:
    """Sends the longest prompt that the largest message holds, with an unknown character at its end."""
    text = "to be " * (_LIMIT // 6 - 16) + "\u5b57"
    await _repeat(callers, port, "Generate", pb.GenerateRequest(prompt=text).SerializeToString())


async def malformed(callers: int, port: int, _: int) -> None:
    """Sends large messages that break off in the middle of their last field."""
    await _repeat(callers, port, "Generate", _biased(_LIMIT // 16)[:-1])


async def scrapers(callers: int, _: int, port: int) -> None:
    """Scrapes the metrics without a pause."""

    async def scrape() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))

    await _all(callers, scrape)


async def stalled(callers: int, port: int, _: int) -> None:
    """Opens streams on one connection, and reads none."""
    await _stall(callers, port, _long(None))


async def stalled_alternatives(callers: int, port: int, _: int) -> None:
    """Opens streams with 20 alternatives per character on one connection, and reads none."""
    await _stall(callers, port, _long(20))


async def resets(callers: int, port: int, _: int) -> None:
    """Opens calls and cancels each at once, as fast as the connection takes them (CVE-2023-44487)."""
    message = pb.GenerateStreamRequest(prompt="a").SerializeToString()

    async def reset() -> None:
        connection = await Connection.open(port, window=0)
        serving = asyncio.create_task(connection.serve())
        while not serving.done():
            for _ in range(100):
                connection.reset(connection.call(_SERVICE + "GenerateStream", message))
            await connection.drain()
            await asyncio.sleep(0)

    await _all(callers, reset)


async def bombs(callers: int, port: int, _: int) -> None:
    """Sends 16 KiB that unpack to a message of 16 MiB."""
    bomb = gzip.compress(pb.GenerateRequest(prompt="a" * 2**24).SerializeToString())

    async def send() -> None:
        connection = await Connection.open(port, window=2**16)
        serving = asyncio.create_task(connection.serve())
        while not serving.done():
            connection.call(_SERVICE + "Generate", bomb, more={"grpc-encoding": "gzip"})
            await connection.drain()
            await asyncio.sleep(_BOMB_PAUSE)

    await _all(callers, send)


async def idle(callers: int, port: int, http_port: int) -> None:
    """Opens connections to both ports, and says nothing."""
    turn = count()

    async def connect() -> None:
        reader, _ = await asyncio.open_connection("127.0.0.1", (port, http_port)[next(turn) % 2])
        while await reader.read(2**16):
            pass

    await _all(callers, connect)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        *(alternatives, texts, scores, bias, many_bias, stops, prompts, malformed),
        *(scrapers, stalled, stalled_alternatives, resets, bombs, idle),
    )
}


def _long(top_logprobs: int | None) -> bytes:
    parameters = pb.GenerationParameters(max_characters=_LONG, top_logprobs=top_logprobs)
    return pb.GenerateStreamRequest(prompt="ROMEO:", parameters=parameters).SerializeToString()


def _biased(keys: int) -> bytes:
    parameters = pb.GenerationParameters(character_bias={chr(0x10000 + key): 1.0 for key in range(min(keys, 0x100000))})
    return pb.GenerateRequest(parameters=parameters).SerializeToString()


async def _repeat(callers: int, port: int, method: str, message: bytes) -> None:
    """Repeats one call, each caller on a connection of its own, whatever becomes of it."""

    async def call() -> None:
        options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            unary: Any = channel.unary_unary(_SERVICE + method)
            while True:
                with suppress(grpc.aio.AioRpcError):
                    await unary(message)

    await _all(callers, call)


async def _stall(callers: int, port: int, message: bytes) -> None:
    connection = await Connection.open(port, window=0)
    serving = asyncio.create_task(connection.serve())
    for _ in range(callers):
        connection.call(_SERVICE + "GenerateStream", message)
    await connection.drain()
    print("ready", flush=True)
    await serving
    await asyncio.Event().wait()


async def _all(callers: int, caller: Callable[[], Awaitable[None]]) -> None:
    async def endless() -> None:
        while True:
            try:
                await caller()
            except (OSError, EOFError):  # the server hung up
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(endless())
        await asyncio.sleep(1)
        print("ready", flush=True)


def main() -> None:
    """Runs the attack that the command line names."""
    name, callers, port, http_port = sys.argv[1:]
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each message to a server that hung up
    os.nice(10)  # the ordinary callers share its core, and must not wait for it
    asyncio.run(ATTACKS[name](int(callers), int(port), int(http_port)))


if __name__ == "__main__":
    main()
