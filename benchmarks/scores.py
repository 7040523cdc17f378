"""Scores: the rate of texts that are scored while they come, and of many short ones, against the kernel's.

The server is pinned to one core, and the caller to the other. The kernel is the runner alone, on the server's core, in
turns with it: ``Runner.score`` over as many steps as fit a turn.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np

from benchmarks.models import SHAKESPEARE, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Server, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.runner import Runner

TITLE = "Scores"
_ROUNDS = 5
_CHARACTERS = 120_000  # of a round
_PART = 16_384  # characters of a message
_STREAMS = 64
_LINES = 1000
_LINE = 50
_STEPS = {1: 121, _STREAMS: 16}  # as many as fit a turn of 5 ms, at least 16
_KERNEL_SECONDS = 3.0
_MEMORY_SECONDS = 60.0
_LARGE = 100 * 10**6
_ONE, _PARTS, _MANY, _SHORT = "one text, sums only", "one text", f"{_STREAMS} texts at once", f"{_LINES} lines at once"


def measure(folder: Path) -> str:
    """Measures the scores and returns the section of the results."""
    model = model_file(folder, WIDE)
    runner = Runner(model)
    rates: dict[str, list[float]] = {name: [] for name in (_ONE, _PARTS, _MANY, _SHORT)}
    kernel: dict[int, list[float]] = {rows: [] for rows in _STEPS}
    with served(folder, "--model", model, "--lanes", "1") as server:
        for _ in range(_ROUNDS):
            for rows in _STEPS:
                kernel[rows].append(_kernel(runner, rows))
            for name, rate in asyncio.run(_rates(server)).items():
                rates[name].append(rate)
        memory, passed = asyncio.run(_memory(server))
    alone, together = (median(kernel[rows]) for rows in _STEPS)
    against = {_ONE: alone, _PARTS: alone, _MANY: together, _SHORT: together}
    lines = [
        Claim(f"{name}, against the kernel's rate", 0.8, median(rates[name]) / kernel_rate)
        for name, kernel_rate in against.items()
    ]
    hours = _LARGE / median(rates[_ONE]) / 3600
    return "\n\n".join(
        [
            f"{name_of(WIDE)}, int8, V=66; the server on one core with one lane, the caller on the other.",
            claims(lines),
            table(
                ["texts", "characters/s", "kernel, characters/s", "ratio"],
                [
                    [name, f"{median(rates[name]):,.0f}", f"{rate:,.0f}", f"{median(rates[name]) / rate:.2f}"]
                    for name, rate in against.items()
                ],
            ),
            f"While {passed / 1e6:.1f} million characters of one text passed, the server's memory grew by "
            f"{memory / 2**20:.1f} MiB at most. At this rate, 100 MB take {hours:.1f} hours on one row of one core.",
        ]
    )


def _kernel(runner: Runner, rows: int) -> float:
    """Returns the characters per second of the runner alone on the server's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        ids = np.random.default_rng(0).integers(1, len(SHAKESPEARE) + 1, (_STEPS[rows], rows))
        last, state = np.zeros(rows, np.int64), runner.initial_state(rows)
        count, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < _KERNEL_SECONDS:
            _, state = runner.score(last, ids, state)
            last = ids[-1]
            count += ids.size
        return count / seconds
    finally:
        os.sched_setaffinity(0, cores)


async def _rates(server: Server) -> dict[str, float]:
    """Returns the characters per second of each kind of texts."""
    os.sched_setaffinity(0, {LOAD_CORE})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        rates = {}
        for name, totals_only in ((_ONE, True), (_PARTS, False)):
            started = time.perf_counter()
            await _score(stub, _CHARACTERS, totals_only=totals_only)
            rates[name] = _CHARACTERS / (time.perf_counter() - started)
        started = time.perf_counter()
        each = 8 * _CHARACTERS // _STREAMS
        await asyncio.gather(*(_score(stub, each, totals_only=False) for _ in range(_STREAMS)))
        rates[_MANY] = each * _STREAMS / (time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(10):
            await stub.Rescore(pb.RescoreRequest(candidates=[_text(_LINE) for _ in range(_LINES)]))
        rates[_SHORT] = 10 * _LINES * _LINE / (time.perf_counter() - started)
        return rates


async def _memory(server: Server) -> tuple[int, int]:
    """Returns by how many bytes the server's memory grew at most, and the characters that passed meanwhile."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        before = server.memory
        server.forget_peak()
        passed, end = 0, time.perf_counter() + _MEMORY_SECONDS
        while time.perf_counter() < end:
            passed += await _score(stub, 10**9, totals_only=False, until=end)
        return server.peak_memory - before, passed


async def _score(stub: Any, characters: int, *, totals_only: bool, until: float = float("inf")) -> int:
    """Scores a text of ``characters`` characters, or as many as are sent by then. Returns their number."""

    async def parts() -> AsyncIterator[pb.ScoreStreamRequest]:
        yield pb.ScoreStreamRequest(settings=pb.ScoreSettings(totals_only=totals_only))
        left = characters
        while left > 0 and time.perf_counter() < until:
            yield pb.ScoreStreamRequest(text=_text(min(left, _PART)))
            left -= _PART

    passed = 0
    async for event in stub.ScoreStream(parts()):
        if event.HasField("text"):
            passed = event.text.characters
    return passed


def _text(characters: int) -> str:
    return "".join(random.choices(SHAKESPEARE, k=characters))  # noqa: S311
