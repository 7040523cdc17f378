"""The limits of callers: a caller above its rate slows itself, and not the first characters of others.

A quiet caller begins short texts at fixed times: alone, beside a greedy caller that is limited, and beside the same one
without limits, in turn. The greedy one wants 64 long texts, and comes back at once when it is refused. The server
runs on one core, both callers on the other one, where the greedy one has the time that the quiet one leaves.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from statistics import median

import grpc

from benchmarks.models import SHAKESPEARE, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

TITLE = "Limits of callers"
_RATE, _STREAMS = 2000, 8
_ALONE, _LIMITED, _FREE = "alone", "beside a limited caller", "beside the same without limits"
_TOKENS = {"quiet": "", "limited": f"streams={_STREAMS} rate={_RATE}", "free": ""}
_GREEDY = 64
_GREEDY_CHARACTERS = 2000
_CHARACTERS = 50
_INTERVAL = 0.05  # seconds between two texts of the quiet caller: with twice as many, it alone fills most of the core
_TURNS = 16
_SELDOM = 8  # turns of which one has the greedy caller without limits
_SECONDS = 5.0  # of a turn: a hundred texts, so that its p99 is not the worst one
_SETTLING = 1.0  # seconds before the measurement in which the greedy caller uses up the credit of an idle one
_MOST = 1.2


def measure(folder: Path) -> str:
    """Measures the limits and returns the section of the results."""
    tokens = folder / "tokens"
    tokens.write_text(
        "".join(f"{name} {sha256(name.encode()).hexdigest()} {limits}\n" for name, limits in _TOKENS.items())
    )
    turns: dict[str, list[list[float]]] = {_ALONE: [], _LIMITED: [], _FREE: []}
    had: dict[str, list[float]] = {_LIMITED: [], _FREE: []}
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        options = ("--model", model_file(folder, WIDE), "--lanes", "1", "--auth-tokens-file", tokens)
        with served(folder, *options) as server:
            asyncio.run(_quiet(server.port, 1.0))  # warms up
            for turn in range(_TURNS):
                turns[_ALONE].append(asyncio.run(_quiet(server.port, _SECONDS)))
                for name, token in ((_LIMITED, "limited"), (_FREE, "free")):
                    if name == _LIMITED or turn % _SELDOM == 0:
                        with _greedy(server.port, token, had[name]):
                            turns[name].append(asyncio.run(_quiet(server.port, _SECONDS)))
    finally:
        os.sched_setaffinity(0, cores)
    rows = []
    for name, found in turns.items():
        texts = [seconds for turn in found for seconds in turn]
        figures = _percentile(texts, 50), median(_percentile(turn, 99) for turn in found), _percentile(texts, 99)
        rate = f"{sum(had[name]) / len(had[name]):,.0f}" if name in had else ""
        rows.append([name, len(texts), *(f"{seconds * 1e3:.2f}" for seconds in figures), rate])
    ratio = median(
        _percentile(beside, 99) / _percentile(alone, 99)
        for alone, beside in zip(turns[_ALONE], turns[_LIMITED], strict=True)
    )
    return "\n\n".join(
        [
            f"{name_of(WIDE)}, int8, V=66; a text of {_CHARACTERS} characters every {_INTERVAL * 1e3:g} ms beside "
            f"{_GREEDY} callers with one token, limited to {_STREAMS} texts and {_RATE:,} characters per second.",
            table(
                ["quiet caller", "texts", "first character, p50, ms", "p99 of a turn", "p99", "greedy, characters/s"],
                rows,
            ),
            claims([Claim("p99 beside a limited caller, against the turn before", _MOST, ratio, at_most=True)]),
            f"A turn has {_SECONDS:g} s of each. The p99 of a turn is the median of all turns, because the p99 of all "
            "texts is that of the turn in which the machine's other work was heaviest.",
        ]
    )


def _percentile(seconds: list[float], percent: int) -> float:
    """Returns a percentile by nearest rank."""
    return sorted(seconds)[-(-len(seconds) * percent // 100) - 1]


def _call(stub: generation_pb2_grpc.GenerationServiceStub, token: str, characters: int) -> grpc.aio.UnaryStreamCall:  # type: ignore[type-arg]
    request = pb.GenerateStreamRequest(
        prompt=SHAKESPEARE[:40], parameters=pb.GenerationParameters(max_characters=characters)
    )
    return stub.GenerateStream(request, metadata=(("authorization", f"Bearer {token}"),))  # type: ignore[no-any-return]


async def _quiet(port: int, seconds: float) -> list[float]:
    """Begins a text at fixed times, and returns the seconds from each of these to the first character."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        async for _ in _call(stub, "quiet", 1):  # connects: no part of a first character
            pass
        start = time.perf_counter()

        async def text(due: float) -> float:
            await asyncio.sleep(due - time.perf_counter())
            first = 0.0
            async for event in _call(stub, "quiet", _CHARACTERS):
                if not first and event.WhichOneof("event") == "delta":
                    first = time.perf_counter() - due
            return first

        return list(
            await asyncio.gather(*(text(start + number * _INTERVAL) for number in range(int(seconds / _INTERVAL))))
        )


@contextmanager
def _greedy(port: int, token: str, had: list[float]) -> Iterator[None]:
    """Runs the greedy caller, and adds the characters per second that it had."""
    command = ["nice", "-n", "19", sys.executable, "-m", "benchmarks.callers_limits", str(port), token]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()  # it has begun
        yield
        process.stdin.close()
        had.append(float(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


async def _be_greedy(port: int, token: str) -> float:
    """Calls until standard input is closed, and returns the characters per second."""
    characters = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]

        async def again_and_again() -> None:
            nonlocal characters
            while True:
                with suppress(grpc.aio.AioRpcError):
                    async for event in _call(stub, token, _GREEDY_CHARACTERS):
                        characters += len(event.delta.text)

        tasks = [asyncio.create_task(again_and_again()) for _ in range(_GREEDY)]
        await asyncio.sleep(_SETTLING)
        print("begun", flush=True)
        characters = 0
        started = time.perf_counter()
        await asyncio.to_thread(sys.stdin.read)
        seconds = time.perf_counter() - started
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return characters / seconds


if __name__ == "__main__":
    print(asyncio.run(_be_greedy(int(sys.argv[1]), sys.argv[2])), flush=True)
