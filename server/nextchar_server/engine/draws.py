"""The random numbers of a stream, as its turns need them.

Between a stream and the model's random numbers. Each is a function of seed and position, so a number that is made twice
is the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextchar_model.draws import uniform

_MADE = 1024  # at a time, so that one call serves many turns
_SPARE = 16  # made beyond the last one, because a turn may continue beyond the end of a stream

_NONE: NDArray[np.float32] = np.empty(0, np.float32)


class Draws:
    """The random numbers of a stream, of which many are made at a time."""

    __slots__ = ("_made", "_most", "_position", "_seed", "_start")

    def __init__(self, seed: int, position: int, most: int) -> None:
        """``position`` of those of ``seed`` are used up. About ``most`` more are needed."""
        self._seed = seed
        self._position = position
        self._most = most
        self._made = _NONE
        self._start = 0  # number of those before

    def take(self, start: int, count: int) -> NDArray[np.float32]:
        """Returns ``count`` of them, from number ``start`` on, which never decreases."""
        first = start - self._start
        if first + count > len(self._made):
            self._start, first = start, 0
            needed = min(_MADE, self._most - start + _SPARE)
            self._made = uniform(self._seed, self._position + start, max(needed, count))
        taken = self._made[first : first + count]
        if start + count >= self._most:  # the last ones: the stream lives on until its reader has everything
            self._made = _NONE
        return taken
