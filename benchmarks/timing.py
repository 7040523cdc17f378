"""Timing: several contestants take turns, so that the machine's other work affects all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def interleave(contestants: Mapping[Name, Callable[[], object]], *, seconds: float) -> dict[Name, float]:
    """Returns the median seconds per call of each of ``contestants``, which take turns (A B A B ...) for ``seconds``.

    There are at least five rounds. An untimed call before each timed one brings the weights back into the cache.
    """
    taken: dict[Name, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 5 or time.perf_counter() < end:
        for name, call in contestants.items():
            call()
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)
        rounds += 1
    return {name: median(times) for name, times in taken.items()}
