"""Prompts: the part that a lane has in the cache of prefixes.

Lets the rows of new streams start behind the longest known prefix of their prompts, and keeps the states that the
lane's turns come by. A state is known only between two turns, so now and then a turn ends with a prompt to know the
state there. That costs as much as some steps; how often it happens is bounded by the steps that were taken or spared.

Invariant: a row that starts behind a prefix has the very state that it would have read itself into.
"""

from __future__ import annotations

from .prefixes import START, Prefixes
from .rows import Rows
from .stream import Stream

SHORTEST = 100
"""Ids from which a prompt uses the cache. To look up a shorter one costs more than 1 % of reading it."""

SPACING = 256
"""Ids between two states that are kept of a prompt, at most, and half as many at least: to keep one costs a step."""

WORTH = 16
"""Fewest ids that the state at the end of a prompt spares beyond the one before, to be kept."""

CUT_COST = 4096
"""Steps, taken or spared, that pay for ending a turn early, which costs about as much as eight steps of one row."""


class Prompts:
    """The prompts of one lane."""

    def __init__(self, prefixes: Prefixes) -> None:
        self._prefixes = prefixes
        self._credit = CUT_COST  # steps that were taken or spared since a turn was ended early

    def start(self, rows: Rows) -> Rows:
        """Lets ``rows``, all of new streams, start behind the longest known prefixes of their prompts. Returns them."""
        if not self._prefixes.size:
            return rows
        for row, stream in enumerate(rows.streams):
            if len(stream.read) < SHORTEST or not stream.awaits_first or stream.start is not None:
                continue
            if stream.reports_reading:  # it reads all, and leaves states to others
                stream.prefix = START
                continue
            stream.prefix = prefix = self._prefixes.find(stream.read)
            if prefix is not START:
                rows.batch.hidden[:, row] = prefix.hidden
                rows.batch.cell[:, row] = prefix.cell
                rows.batch.last_id[row] = stream.read[prefix.length]  # read, and fed in next
                stream.read_count = prefix.length + 1
                stream.keep_state(rows.batch, row)
                self._earn(prefix.length)
        return rows

    def turn(self, rows: Rows, steps: int) -> int:
        """Keeps states before a turn of ``rows``, which read, of at most ``steps`` steps; returns its steps."""
        ends = [stream.left_to_read for stream in rows.streams if stream.keeps_end]
        steps = max(1, min([steps, *ends]))  # so that the turn ends with them
        if not self._prefixes.size:
            return steps
        self._earn(steps)
        if self._credit >= CUT_COST:
            ending = [stream for stream in rows.streams if 0 < stream.left_to_read < steps and _is_worth_a_cut(stream)]
            if ending:
                steps = max(ending, key=lambda stream: len(stream.read)).left_to_read
                self._credit = 0
        for row, stream in enumerate(rows.streams):
            if (prefix := stream.prefix) is None:
                continue
            is_last = stream.left_to_read < steps
            fed = stream.read_count - 1  # the last id that was read is fed in next
            new = fed - prefix.length
            is_due = new >= SPACING // 2 and (is_last or new + steps > SPACING)
            if is_due or (new >= WORTH and not stream.left_to_read):
                hidden, cell = rows.batch.hidden[:, row], rows.batch.cell[:, row]
                stream.prefix = self._prefixes.keep(stream.read[:fed], prefix, hidden, cell)
            if is_last:
                stream.prefix = None
        return steps

    def _earn(self, steps: int) -> None:
        self._credit = min(self._credit + steps, CUT_COST)


def _is_worth_a_cut(stream: Stream) -> bool:
    """Whether the state at the end of the prompt would be kept."""
    return stream.prefix is not None and len(stream.read) - 1 - stream.prefix.length >= WORTH
