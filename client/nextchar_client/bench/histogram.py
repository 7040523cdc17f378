"""A histogram of durations, from which percentiles are read; its size doesn't grow with the number of durations.

The bins are log-spaced, each 1 % wider than the one before, so a percentile is within 0.5 % of its value in a sorted
list, whatever the scale of the durations.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

_SMALLEST = 1e-7
_LARGEST = 1e5
_BINS_PER_E = 1 / math.log(1.01)
_BINS = math.ceil(math.log(_LARGEST / _SMALLEST) * _BINS_PER_E)


@dataclass(frozen=True)
class Percentiles:
    """The 50th, 90th and 99th percentile of durations, and the largest one, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float


class Histogram:
    """A histogram of durations in seconds with integer weights.

    Values below 100 ns or above about a day land in the first or last bin.
    """

    def __init__(self) -> None:
        self._weights = [0] * (_BINS + 1)
        self.min = math.inf
        self.max = 0.0

    def add(self, seconds: float, weight: int = 1) -> None:
        """Adds one duration ``weight`` times."""
        place = int(math.log(seconds / _SMALLEST) * _BINS_PER_E) if seconds > _SMALLEST else 0
        self._weights[min(place, _BINS)] += weight
        self.min = min(self.min, seconds)
        self.max = max(self.max, seconds)

    def percentile(self, percent: float) -> float:
        """Nearest-rank percentile. The histogram must not be empty."""
        cumulative = list(itertools.accumulate(self._weights))
        rank = max(1, math.ceil(percent / 100 * cumulative[-1]))
        place = next(place for place, weight in enumerate(cumulative) if weight >= rank)
        middle = _SMALLEST * math.exp((place + 0.5) / _BINS_PER_E)
        return min(max(middle, self.min), self.max)

    def percentiles(self) -> Percentiles | None:
        """The percentiles that the report shows; None if the histogram is empty."""
        if self.min > self.max:
            return None
        return Percentiles(self.percentile(50), self.percentile(90), self.percentile(99), self.max)
