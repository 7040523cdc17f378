"""The prefix cache: the time to the first character behind prompts that were read, and the cost for those that weren't.

Calls take turns, so that the machine's other work affects all alike. The server is pinned to one core, and the caller
to the other. The cost is that of one engine, whose cache is switched on and off: two processes of the same server
differ by up to 3 % from each other, three times the cost that is allowed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np

from benchmarks.models import SHAKESPEARE, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Server, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.runner import Runner
from nextchar_server.engine.engine import Engine
from nextchar_server.engine.stream import End, Stream

TITLE = "Prefix cache"
_LONG = 10_000
_NEW = (100, 500, 2000)
_ROUNDS = 100
_CACHE = 64 * 2**20  # bytes, as a server has unless it is told otherwise
_TURN_BUDGET = 0.005  # seconds, likewise
_WARM, _EMPTY = f"{_LONG:,} characters that were read before", "no prompt"


def measure(folder: Path) -> str:
    """Measures the cache and returns the section of the results."""
    model = model_file(folder, WIDE)
    with ExitStack() as running:
        running.enter_context(_on_load_core())
        usual = running.enter_context(_stub(running.enter_context(served(folder, "--model", model))))
        known = _prompt(_LONG)
        read = [_seconds_to_first(usual, _prompt(_LONG)) for _ in range(3)]
        _seconds_to_first(usual, known)
        firsts = _interleaved(
            {name: partial(_seconds_to_first, usual, prompt) for name, prompt in ((_EMPTY, ""), (_WARM, known))},
            _ROUNDS,
        )
        misses = _misses(model)
    lines = [
        Claim(f"first character after {_WARM}, against {_EMPTY}", 2, firsts[_WARM] / firsts[_EMPTY], at_most=True),
        *(
            Claim(
                f"processor time for {length:,} new characters, more than without a cache",
                1,
                (one["with"] / one["without"] - 1) * 100,
                at_most=True,
                unit="%",
            )
            for length, one in misses.items()
        ),
    ]
    rows = [
        *([name, f"{seconds * 1e3:.2f}"] for name, seconds in firsts.items()),
        [f"{_LONG:,} new characters", f"{median(read) * 1e3:.1f}"],
    ]
    costs = [
        [f"{length:,}", f"{one['with'] * 1e3:.2f}", f"{one['without'] * 1e3:.2f}"] for length, one in misses.items()
    ]
    return "\n\n".join(
        [
            f"{name_of(WIDE)}, int8, V=66; one stream at a time, medians of calls that take turns.",
            claims(lines),
            table(["prompt", "first character, ms"], rows),
            table(["new characters", "processor time, ms", "with `--prefix-cache 0`"], costs),
        ]
    )


def _prompt(length: int) -> str:
    return "".join(random.choices(SHAKESPEARE, k=length))  # noqa: S311


def _misses(model: Path) -> dict[int, dict[str, float]]:
    """Returns the processor time, in seconds, of new prompts with a cache and without, by their length."""
    runner = Runner(model)
    misses: dict[int, dict[str, float]] = {}
    with asyncio.Runner() as loop:
        engine = loop.run(_engine(runner))
        try:
            for length in _NEW:
                misses[length] = _interleaved(
                    {
                        name: lambda size=size, length=length: loop.run(_cpu_of_new(engine, length, size))  # type: ignore[misc]
                        for name, size in (("with", _CACHE), ("without", 0))
                    },
                    max(_ROUNDS, _ROUNDS * 500 // length),
                )
        finally:
            loop.run(_stopped(engine))
    return misses


async def _engine(runner: Runner) -> Engine:
    return Engine(runner, lanes=1, max_batch=1, queue_size=1, turn_budget=_TURN_BUDGET)


async def _stopped(engine: Engine) -> None:
    engine.stop()


async def _cpu_of_new(engine: Engine, length: int, size: int) -> float:
    """Returns the processor time, in seconds, of a new prompt and the id after it, with a cache of ``size`` bytes."""
    engine.prefixes.size = size
    stream = Stream(read=np.random.randint(1, len(SHAKESPEARE) + 1, length), count=1)
    used = time.process_time()
    engine.submit(stream)
    taken: object = None
    while not isinstance(taken, End):
        await stream.ready()
        taken = engine.take(stream)
    engine.release(stream)
    return time.process_time() - used


def _seconds_to_first(stub: Any, prompt: str) -> float:
    parameters = pb.GenerationParameters(max_characters=1)
    request = pb.GenerateStreamRequest(prompt=prompt, parameters=parameters)
    started = time.perf_counter()
    events = stub.GenerateStream(request)
    for event in events:
        if event.HasField("delta"):
            break
    seconds = time.perf_counter() - started
    for _ in events:  # until it has ended, so that it doesn't disturb the next call
        pass
    return seconds


def _interleaved(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Returns the median of the results of each of ``contestants``, which take turns ``rounds`` times."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    calls = list(contestants.items())
    for _ in range(rounds):
        for name, call in calls:
            taken[name].append(call())
        calls.reverse()
    return {name: median(results) for name, results in taken.items()}


@contextmanager
def _stub(server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        for _ in range(5):  # warms up
            _seconds_to_first(stub, "")
        yield stub


@contextmanager
def _on_load_core() -> Iterator[None]:
    """Pins this process, but not the servers that it starts, which pin themselves."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
