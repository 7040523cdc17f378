"""The lines that calls leave in the log.

Invariant: of each kind of line, a bounded number is written per second, however many calls there are; the next line of
the kind says how many were left out. The metrics count every call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

LINES = 100
"""Most lines of one kind per second."""

LINES_OF_SERVED_CALLS = 1000
"""Most lines per second about calls that ended well: these cost more to make than a refused one."""


class LineLimit:
    """Bounds the rate of each kind of line."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the time in seconds."""
        self._clock = clock
        self._seconds: dict[Hashable, _Second] = {}

    def left_out(self, kind: Hashable, most: int = LINES) -> int | None:
        """Returns None if a line of ``kind``, of which ``most`` are written per second, must be left out now.

        Otherwise the caller writes the line; the number is that of the lines left out since the one before.
        """
        now = int(self._clock())
        second = self._seconds.setdefault(kind, _Second(now))
        if second.number != now:
            second.number, second.lines = now, 0
        if second.lines >= most:
            second.left_out += 1
            return None
        second.lines += 1
        left_out, second.left_out = second.left_out, 0
        return left_out


class _Second:
    """The lines of one kind in the current second."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lines = 0
        self.left_out = 0
