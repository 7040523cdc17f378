"""The random numbers of rows, of which some are always at hand.

Invariant: the number at a position is that of ``draws.uniform`` for the row's seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..draws import uniforms

FIRST = 16
"""Random numbers of a row that are made with those of many others, before it starts."""

_AT_HAND = 64  # at most


class RowDraws:
    """The random numbers of B rows."""

    def __init__(self) -> None:
        self._seeds = np.zeros(0, np.uint64)
        self._made = np.zeros((0, _AT_HAND), np.float32)
        self._base = np.zeros(0, np.int64)  # position of the first one at hand
        self._count = np.zeros(0, np.int64)  # of those at hand

    def add(self, count: int) -> None:
        """Adds rows."""
        self._seeds = np.concatenate([self._seeds, np.zeros(count, np.uint64)])
        self._made = np.concatenate([self._made, np.zeros((count, _AT_HAND), np.float32)])
        self._base = np.concatenate([self._base, np.zeros(count, np.int64)])
        self._count = np.concatenate([self._count, np.zeros(count, np.int64)])

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Drops all but ``rows``."""
        self._seeds, self._made = self._seeds[rows], self._made[rows]
        self._base, self._count = self._base[rows], self._count[rows]

    def start(self, rows: NDArray[np.intp], seeds: NDArray[np.uint64], first: NDArray[np.float32]) -> None:
        """Sets the seeds of ``rows`` to ``seeds``, of which the ``first`` random numbers are made, [rows, FIRST]."""
        self._seeds[rows] = seeds
        self._made[rows, :FIRST] = first
        self._base[rows], self._count[rows] = 0, FIRST

    def rest(self, rows: NDArray[np.intp] | list[int]) -> None:
        """Lets ``rows`` take any numbers until they start again: they have no text."""
        self._base[rows], self._count[rows] = 0, _AT_HAND

    def seeds(self, rows: NDArray[np.intp]) -> list[int]:
        """Returns the seeds of ``rows``."""
        seeds: list[int] = self._seeds[rows].tolist()
        return seeds

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the random numbers at ``positions`` [K, B], which grow by 1 from step to step at most."""
        first = positions[0]
        left = self._base + self._count - first
        if (left < len(positions)).any():
            rows = np.flatnonzero(left < _AT_HAND // 2)
            base = first[rows] // 4 * 4
            self._made[rows] = uniforms(self._seeds[rows], base, _AT_HAND)
            self._base[rows], self._count[rows] = base, _AT_HAND
        return self._made.take(np.arange(len(self._base)) * _AT_HAND - self._base + positions)
