"""A histogram of durations: what percentiles of any number of them are read from, in the same few KB.

The bins are log-spaced, each 1 % wider than the one before it, so a percentile is within 0.5 % of the value that a
sorted list would give, whatever the unit of the times is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

_LEAST = 1e-7
_MOST = 1e5
_BINS_AN_E = 1 / math.log(1.01)
_BINS = math.ceil(math.log(_MOST / _LEAST) * _BINS_AN_E)


@dataclass(frozen=True)
class Percentiles:
    """What half, 90 % and 99 % of the durations do not exceed, and the greatest of all, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Histogram:
    """Durations in seconds, each with a whole weight; those outside 100 ns to a day count as that."""

    def __init__(self) -> None:
        self._weights = [0] * (_BINS + 1)
        self.min = math.inf
        self.max = 0.0

    def add(self, seconds: float, weight: int = 1) -> None:
        """Adds one duration as often as ``weight`` says."""
        place = int(math.log(seconds / _LEAST) * _BINS_AN_E) if seconds > _LEAST else 0
        self._weights[min(place, _BINS)] += weight
        self.min = min(self.min, seconds)
        self.max = max(self.max, seconds)

    def percentile(self, percent: float) -> float:
        """The least duration that ``percent`` of all do not exceed (nearest rank). There has to be one."""
        cumulative = list(itertools.accumulate(self._weights))
        rank = max(1, math.ceil(percent / 100 * cumulative[-1]))
        place = next(place for place, weight in enumerate(cumulative) if weight >= rank)
        middle = _LEAST * math.exp((place + 0.5) / _BINS_AN_E)
        return min(max(middle, self.min), self.max)

    def percentiles(self) -> Percentiles | None:
        """The percentiles that are shown; None where there is no duration."""
        if self.min > self.max:
            return None
        return Percentiles(self.percentile(50), self.percentile(90), self.percentile(99), self.max)
