"""Loads: how many rows each lane has, and the streams on their way from one lane to another.

The admission keeps one, and guards it. Arrivals spread evenly by themselves, because no lane takes more than its even
share; but lanes don't end their streams evenly. So a lane that has more than twice as many rows as another one hands
over those beyond its even share (decision 53).

Invariant: a stream is moved again only after many of some lane's streams have ended, so none goes to and fro.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

from .stream import Stream

LEAST = 6
"""Fewest rows of a lane that hands over some. A step of few rows takes hardly longer than one of half as many: below
this, another core costs more processor time than it gains in speed."""


class Loads:
    """The loads of the lanes of one model."""

    def __init__(self, lanes: int, max_batch: int) -> None:
        """For ``lanes`` lanes of at most ``max_batch`` rows each."""
        self._max_batch = max_batch
        self._rows = [0] * lanes
        self._moving: OrderedDict[Stream, None] = OrderedDict()

    @property
    def active(self) -> int:
        """Number of streams that have a row, in a batch or on their way."""
        return sum(self._rows) + len(self._moving)

    def note(self, lane: int, rows: int) -> None:
        """Notes that ``lane`` has ``rows`` rows."""
        self._rows[lane] = rows

    def room(self, lane: int, wanting: int) -> int:
        """Returns how many streams ``lane`` may take in while ``wanting`` streams want a row."""
        return min(self._even(wanting), self._max_batch) - self._rows[lane]

    def is_uneven(self, rows: int) -> bool:
        """Whether a lane of ``rows`` rows has more than twice as many as another one. Needs no guard."""
        return rows >= LEAST and rows > 2 * min(self._rows)

    def excess(self, lane: int, wanting: int) -> int:
        """Returns how many rows ``lane`` has beyond its even share, while ``wanting`` streams want one."""
        return max(0, self._rows[lane] - self._even(wanting))

    def send(self, streams: Iterable[Stream]) -> None:
        """Adds ``streams`` to those on their way."""
        self._moving.update(dict.fromkeys(streams))

    def receive(self) -> Stream | None:
        """Removes and returns the stream that is on its way for longest, or None."""
        return self._moving.popitem(last=False)[0] if self._moving else None

    def forget(self, stream: Stream) -> None:
        """Removes ``stream``, if it is on its way."""
        self._moving.pop(stream, None)

    def _even(self, wanting: int) -> int:
        return math.ceil((self.active + wanting) / len(self._rows))
