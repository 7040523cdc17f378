"""Samples: several texts of one call against a call for each, and the generator in one process against the kernel.

The generator's texts and the kernel's steps take turns. The kernel is ``Runner.advance`` alone, with as many rows as a
batch of the generator, and no text: once with as many steps as a text has, and once with 50, its best.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc

from benchmarks.kernel import K, steps_of
from benchmarks.models import SMALL, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.timing import interleave
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.generator import Generator
from nextchar_model.parameters import Parameters
from nextchar_model.runner import Runner
from nextchar_model.slices import MAX_ROWS
from nextchar_server.server import Server
from nextchar_server.settings.config import Config

TITLE = "Samples"
SECONDS = 20.0
_LENGTHS = (7, 200)
_TEXTS = 8192  # of a thread, of the shorter length; of the longer one an eighth
_SAMPLES = 64
_CALLS = 20
_WANTED = 0.9


def measure(folder: Path) -> str:
    """Measures both, and returns the section of the results."""
    rows, lines = [], []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for architecture in (WIDE, SMALL):
        path = model_file(folder, architecture)
        for threads in sorted({1, cores}):
            for length in _LENGTHS:
                generated, alike, best = _rates(path, threads, length)
                where = f"{name_of(architecture)}, {threads} threads, {length} characters"
                rows.append([where, *(f"{rate:,.0f}" for rate in (generated, alike, best)), f"{generated / best:.2f}"])
                if architecture is WIDE:
                    lines.append(Claim(f"generator against the kernel, {where}", _WANTED, generated / alike))
    several, single = asyncio.run(_served(model_file(folder, WIDE)))
    lines.append(Claim(f"a call for {_SAMPLES} texts of 7 characters against a call for each", 2, several / single))
    return "\n\n".join(
        [
            "The generator in one process; characters per second.",
            claims(lines),
            table(["model", "generator", "kernel, steps as in a text", f"kernel, {K} steps", "of the latter"], rows),
            f"Texts of 7 characters per second from a server in the same process: {several:,.0f} with {_SAMPLES} of a "
            f"call, {single:,.0f} with one of a call, {_SAMPLES} calls at a time.",
        ]
    )


def _rates(path: Path, threads: int, length: int) -> tuple[float, float, float]:
    """Returns the characters per second of the generator, and of the kernel with ``length`` steps and with its best."""
    runner, generator = Runner(path), Generator(path, threads=threads)
    texts = threads * _TEXTS // (1 if length < K else 8)
    parameters = Parameters(max_characters=length, ignore_end_of_document=True)

    def generate() -> None:
        deque(generator.samples(seed=1, count=texts, parameters=parameters), maxlen=0)

    calls = {steps: [steps_of(runner, MAX_ROWS, steps) for _ in range(threads)] for steps in (min(length, K), K)}
    with ThreadPoolExecutor(threads) as pool:

        def advance(all_: Iterable[Callable[[], object]], times: int) -> None:
            list(pool.map(lambda call: [call() for _ in range(times)], all_))

        contestants: dict[object, Callable[[], object]] = {"generator": generate}
        times = {steps: max(1, texts * length // (threads * MAX_ROWS * steps)) for steps in calls}
        for steps, all_ in calls.items():
            contestants[steps] = partial(advance, all_, times[steps])
        seconds = interleave(contestants, seconds=SECONDS)
    kernel = {steps: threads * MAX_ROWS * steps * times[steps] / seconds[steps] for steps in calls}
    return texts * length / seconds["generator"], kernel[min(length, K)], kernel[K]


async def _served(path: Path) -> tuple[float, float]:
    """Returns the texts per second of calls for several texts, and of calls for one."""
    server = Server(Config(model=(str(path),), grpc_port=0, http_port=0, lanes=1))
    ports = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            parameters = pb.GenerationParameters(max_characters=7, seed=1)

            async def ask(samples: int | None, calls: int) -> None:
                for _ in range(calls):
                    await stub.Generate(pb.GenerateRequest(parameters=parameters, samples=samples))

            await ask(_SAMPLES, 2)
            started = time.perf_counter()
            await asyncio.gather(*(ask(_SAMPLES, _CALLS) for _ in range(2)))
            several = 2 * _CALLS * _SAMPLES / (time.perf_counter() - started)
            started = time.perf_counter()
            await asyncio.gather(*(ask(None, _CALLS) for _ in range(_SAMPLES)))
            return several, _CALLS * _SAMPLES / (time.perf_counter() - started)
    finally:
        await server.stop()
