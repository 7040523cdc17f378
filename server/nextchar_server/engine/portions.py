"""Portions: the rows of a lane that have much to read, cut into batches that are no longer than a turn.

Nobody waits for the next id of a long prompt or of a text that is only read, as one waits for a first id. So the lane
advances them a portion at a time, within their share of its time, and reads newcomers with short prompts in between
(decision 53). A step of a portion costs each of its rows hardly more than a step of all rows together would.

Invariant: portions take turns, so no row waits for more than one turn of each other portion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .rows import Group, Rows
from .stream import Stream

MOST_ROWS = 48
"""Rows of a portion at most: as many as a shortest turn takes within some 6 ms (1 × 512, int8)."""

LONG = 256
"""Ids left to read, above which a prompt is long: as many as the longest turn reads."""

SHORT = 16
"""The same, if the text is only read, or if one portion doesn't hold the prompts that wait: a shortest turn."""

_RIDERS = 1 / 8
"""Texts that are only read, as a part of the running rows, up to which they run along: a few more rows make a step
hardly longer, but a portion of a few rows takes the time of many."""

_LEAST_SHARE, _MOST_SHARE = 1 / 3, 3
"""Time that all portions may take, as a part of that of the other rows: in proportion to their rows, but at least a
quarter of the lane's time, and at most three."""


@dataclass
class Portion:
    """Rows that advance together, of one group. Either all of their reading is silent, or that of none."""

    group: Group
    rows: Rows
    is_silent: bool


class Portions:
    """The portions of one lane, the next one first."""

    def __init__(self) -> None:
        self._queue: deque[Portion] = deque()
        self.credit = 0.0
        """Seconds that they may take before the other rows are due."""

    def __len__(self) -> int:
        return sum(len(portion.rows) for portion in self._queue)

    def __iter__(self) -> Iterator[Portion]:
        return iter(self._queue)

    @property
    def streams(self) -> list[Stream]:
        """All streams that have a row in a portion."""
        return [stream for portion in self._queue for stream in portion.rows.streams]

    def add(self, group: Group, rows: Rows) -> None:
        """Takes those of ``rows``, which join ``group``, that have much to read, except some that may run along."""
        is_crowded = len(group.reading) + len(rows) > MOST_ROWS
        riders = int(_RIDERS * len(group.running)) - sum(not stream.count for stream in group.running.streams)
        long: dict[bool, list[Stream]] = {True: [], False: []}
        for stream in rows.streams:
            if stream.left_to_read <= (LONG if stream.awaits_first and not is_crowded else SHORT):
                continue
            if not stream.awaits_first and riders > 0:
                riders -= 1
            else:
                long[stream.silent == len(stream.read)].append(stream)
        for is_silent, streams in long.items():
            for start in range(0, len(streams), MOST_ROWS):
                portion = set(streams[start : start + MOST_ROWS])
                if (taken := rows.take(portion.__contains__)) is not None:
                    self._put(Portion(group, taken, is_silent))

    def next(self) -> Portion:
        """Removes and returns the portion that waits for longest, of which there is at least one."""
        return self._queue.popleft()

    def put_back(self, portion: Portion) -> None:
        """Adds ``portion`` again after its turn, as the last one. Its rows that have read all join their group."""
        portion.group.running.join(portion.rows.take(lambda stream: not (stream.left_to_read or stream.awaits_first)))
        self._put(portion)

    def drop(self, is_dropped: Callable[[Stream], bool]) -> list[Rows]:
        """Removes the rows of streams for which ``is_dropped`` is true, and returns them."""
        dropped = [rows for portion in self._queue if (rows := portion.rows.take(is_dropped)) is not None]
        self._queue = deque(portion for portion in self._queue if portion.rows)
        return dropped

    def account(self, seconds: float, others: int) -> None:
        """Notes that the ``others`` rows of the lane took ``seconds``."""
        if others and self._queue:
            self.credit += seconds * min(max(len(self) / others, _LEAST_SHARE), _MOST_SHARE)
        else:
            self.credit = 0.0  # time that nobody took is not kept

    def _put(self, portion: Portion) -> None:
        """Adds ``portion`` as the last one, or to another one of its kind that has room."""
        if not portion.rows:
            return
        for other in self._queue:
            is_alike = other.group is portion.group and other.is_silent == portion.is_silent
            if is_alike and len(other.rows) + len(portion.rows) <= MOST_ROWS:
                other.rows.join(portion.rows)
                return
        self._queue.append(portion)
