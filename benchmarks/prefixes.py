"""The prefix cache: the time to the first character behind prompts that were read, and the cost for those that weren't.

Calls take turns, so that the machine's other work affects all alike. The servers are pinned to one core, and the caller
to the other.
"""

from __future__ import annotations

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

from benchmarks.models import SHAKESPEARE, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Server, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

TITLE = "Prefix cache"
_LONG = 10_000
_NEW = (100, 500, 2000)
_ROUNDS = 100
_WARM, _EMPTY = f"{_LONG:,} characters that were read before", "no prompt"


def measure(folder: Path) -> str:
    """Measures the cache and returns the section of the results."""
    model = model_file(folder, WIDE)
    with ExitStack() as running:
        running.enter_context(_on_load_core())
        servers = {
            "with": running.enter_context(served(folder, "--model", model)),
            "without": running.enter_context(served(folder, "--model", model, "--prefix-cache", "0")),
        }
        stubs = {name: running.enter_context(_stub(server)) for name, server in servers.items()}
        usual = stubs["with"]
        known = _prompt(_LONG)
        read = [_seconds_to_first(usual, _prompt(_LONG)) for _ in range(3)]
        _seconds_to_first(usual, known)
        firsts = _interleaved(
            {name: partial(_seconds_to_first, usual, prompt) for name, prompt in ((_EMPTY, ""), (_WARM, known))},
            _ROUNDS,
        )
        misses: dict[int, dict[str, float]] = {}
        for length in _NEW:
            misses[length] = _interleaved(
                {name: partial(_cpu_of_new, servers[name], stub, length) for name, stub in stubs.items()},
                max(20, _ROUNDS * 500 // length),
            )
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


def _cpu_of_new(server: Server, stub: Any, length: int) -> float:
    """Returns the processor time, in seconds, that ``server`` needs for a new prompt and the character after it."""
    before = server.cpu_seconds[0]
    _seconds_to_first(stub, _prompt(length))
    return server.cpu_seconds[0] - before


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
