"""Requests and resume tokens with flipped bits. ``fuzzing`` runs it in a process of its own:

``python -m benchmarks.fuzzer NAME COUNT SEED GRPC_PORT`` sends ``COUNT`` messages, and prints the number of those that
never ended. Answers aren't read: the server's own metrics count them, each by its status.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from itertools import islice

import grpc.aio

from benchmarks.http2 import MAX_WINDOW, Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

_SERVICE = "/nextchar.v1.GenerationService/"
_CONNECTIONS = 2
_AT_ONCE = 64  # calls of each connection
_PATIENCE = 30.0  # seconds that the last calls may take
_MOST_FLIPS = 8
_PROMPT = "ROMEO:"

Message = tuple[str, bytes]
"""A method, and a message for it."""


def requests(_: bytes, draw: random.Random) -> Iterator[Message]:
    """Requests of every method with some bits flipped. Some break off, or repeat a part."""
    parameters = pb.GenerationParameters(
        max_characters=4,
        temperature=0.8,
        top_k=20,
        top_p=0.9,
        min_p=0.01,
        seed=7,
        stop_sequences=["\n\n", "the"],
        include_stop_sequence=True,
        echo=True,
        top_logprobs=2,
        character_bias={"a": 1.0, "e": -1.0},
        unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE,
        replacement_character=" ",
        resume_interval=2,
    )
    good = [
        ("Generate", pb.GenerateRequest(prompt=_PROMPT, parameters=parameters).SerializeToString()),
        ("GenerateStream", pb.GenerateStreamRequest(prompt=_PROMPT, parameters=parameters).SerializeToString()),
        ("Score", pb.ScoreRequest(text="to be or not", top_logprobs=2).SerializeToString()),
        ("GetModel", pb.GetModelRequest(name="shakespeare").SerializeToString()),
    ]
    while True:
        method, message = draw.choice(good)
        yield method, draw.choice([_flipped, _flipped, _broken_off, _repeated])(message, draw)


def tokens(token: bytes, draw: random.Random) -> Iterator[Message]:
    """Requests that start from ``token`` with some bits flipped."""
    kinds: dict[str, Callable[..., pb.GenerateRequest | pb.GenerateStreamRequest]] = {
        "Generate": pb.GenerateRequest,
        "GenerateStream": pb.GenerateStreamRequest,
    }
    while True:
        method = draw.choice(list(kinds))
        start = kinds[method](resume_token=_flipped(token, draw), parameters=pb.GenerationParameters(max_characters=4))
        yield method, start.SerializeToString()


KINDS = {kind.__name__: kind for kind in (requests, tokens)}


def _flipped(message: bytes, draw: random.Random) -> bytes:
    flipped = bytearray(message)
    for place in draw.sample(range(8 * len(message)), draw.randint(1, _MOST_FLIPS)):
        flipped[place // 8] ^= 1 << place % 8
    return bytes(flipped)


def _broken_off(message: bytes, draw: random.Random) -> bytes:
    return message[: draw.randrange(len(message))]


def _repeated(message: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.choices(range(len(message)), k=2))
    return message[:end] + message[start:]


async def _send(messages: Iterator[Message], port: int) -> int:
    """Sends ``messages`` over a few connections, and returns the number of those that never ended."""

    async def share() -> int:
        connection = await Connection.open(port, window=MAX_WINDOW)
        serving = asyncio.create_task(connection.serve())
        running = 0
        try:
            for method, message in messages:
                connection.call(_SERVICE + method, message)
                running += 1
                if running >= _AT_ONCE:
                    await asyncio.wait_for(connection.ended(), _PATIENCE)
                    running -= 1
                if serving.done():
                    raise ConnectionError("the server hung up")
            while running:
                await asyncio.wait_for(connection.ended(), _PATIENCE)
                running -= 1
        except TimeoutError:
            return running
        finally:
            serving.cancel()
            connection.close()
        return 0

    return sum(await asyncio.gather(*(share() for _ in range(_CONNECTIONS))))


async def fuzz(kind: str, count: int, seed: int, port: int) -> int:
    """Sends ``count`` messages of ``kind`` to the server on ``port``, and returns the number of those that never ended.

    They are the same ones for the same ``seed``, except for the token.
    """
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = rpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call] # generated code
        request = pb.GenerateRequest(parameters=pb.GenerationParameters(max_characters=40))
        token: bytes = (await stub.Generate(request)).finished.resume_token
    return await _send(islice(KINDS[kind](token, random.Random(seed)), count), port)  # noqa: S311 - no secret


def main() -> None:
    """Sends the messages that the command line asks for."""
    kind, count, seed, port = sys.argv[1:]
    print(asyncio.run(fuzz(kind, int(count), int(seed), int(port))))


if __name__ == "__main__":
    main()
