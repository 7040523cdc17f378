"""Runs: a load on a server, the view of its callers, and the processor time of the server meanwhile."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.servers import Load, Server

SECONDS = 5.0
ROUNDS = 3


@dataclass(frozen=True)
class Run:
    """One load on one server, and the server's use of the CPU meanwhile."""

    report: dict[str, Any]
    server_cpu: float
    """Cores used by all threads of all the server's processes."""
    loop_cpu: float
    """Cores used by the main thread alone, in which our event loop runs."""
    took: float
    """Seconds, from the start of the load generator's process to its end."""


def run(server: Server, *, seconds: float = SECONDS, **flags: float) -> Run:
    """Puts a load on ``server`` for ``seconds``; ``flags`` are those of ``nextchar bench``."""
    before, loop, started = server.family_cpu_seconds, server.cpu_seconds[1], time.perf_counter()
    # Texts that are still running a little after the window are cut off; the throughput counts their characters so far.
    report = Load(server, seconds=seconds, **flags).report(seconds + 2)
    after, took = server.family_cpu_seconds, time.perf_counter() - started
    return Run(report, (after - before) / took, (server.cpu_seconds[1] - loop) / took, took)


def rate(runs: Iterable[Run]) -> float:
    """Returns the median of the characters per second."""
    return median(float(one.report["characters_per_second"]) for one in runs)


def first(runs: Iterable[Run], percentile: str) -> float:
    """Returns the median of a percentile of the seconds to the first character."""
    return _median(runs, "first_character_seconds", percentile)


def between(runs: Iterable[Run], percentile: str) -> float:
    """Returns the median of a percentile of the seconds between characters."""
    return _median(runs, "inter_character_seconds", percentile)


def calls(runs: Iterable[Run]) -> float:
    """Returns the median of the calls per second."""
    return median(float(one.report["completed"] / one.report["window_seconds"]) for one in runs)


def call_cpu(runs: Iterable[Run]) -> tuple[float, float]:
    """Returns the medians of the seconds of a processor per call, of the whole server and of its main thread."""
    costs = [(one.server_cpu, one.loop_cpu, one.took / one.report["completed"]) for one in runs]
    return median(all_ * took for all_, _, took in costs), median(loop * took for _, loop, took in costs)


def _median(runs: Iterable[Run], figure: str, percentile: str) -> float:
    found = [one.report[figure] for one in runs]
    return median(math.inf if percentiles is None else float(percentiles[percentile]) for percentiles in found)
