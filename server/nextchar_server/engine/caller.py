"""A caller: those of its streams that have a place, and the rows that it leaves to others.

The admission keeps one for each caller that has a place, and guards it.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from .stream import Stream

FIRST_ROWS = 64
"""Rows that a caller gets before the reader of any of its streams has taken a message. Each reader that does is one row
more: like TCP's slow start, a caller whose readers take nothing is found out before it has all rows."""

_TURNS = 8  # of a lane, for which a stream keeps its row while others of its caller take turns with it


@dataclass(eq=False)
class Caller:
    """The streams of one caller that have a place. The queues find and remove any stream in constant time."""

    held: int = 0
    waiting: OrderedDict[Stream, None] = field(default_factory=OrderedDict)
    returning: OrderedDict[Stream, None] = field(default_factory=OrderedDict)
    """Streams that had a row and want one again: their readers have caught up, or they left it to others."""
    unread: OrderedDict[Stream, None] = field(default_factory=OrderedDict)
    """Streams whose reader has a message to take, the one for longest first."""

    untried: set[Stream] = field(default_factory=set)
    """Streams that got a row and whose reader hasn't taken a message yet; never those that only read."""
    tried: int = 0
    """Number of streams so far whose reader took a message."""

    def unread_since(self, latest: float) -> Stream | None:
        """Returns the stream that is unread for longest, if it is since ``latest`` or before."""
        stream = next(iter(self.unread), None)
        return stream if stream and stream.unread_since is not None and stream.unread_since <= latest else None

    @property
    def ready(self) -> int:
        """Number of streams that want a row and may have one now."""
        new = FIRST_ROWS + self.tried - len(self.untried)
        return len(self.returning) + min(len(self.waiting), max(0, new))


def leaving(running: list[Stream], share: int, callers: Mapping[str, Caller]) -> set[Stream]:
    """Returns those of ``running``, the streams of a full lane, that have to leave their rows for a while.

    Callers with more than ``share`` rows leave as many as ``callers`` below it want, and each some to its own streams
    that left theirs. Of a caller's streams, the first ones leave.
    """
    rows = Counter(stream.caller for stream in running)
    wanted = sum(min(caller.ready, max(0, share - rows[name])) for name, caller in callers.items())
    quotas = {}
    for name, count in rows.most_common():
        given = min(wanted, max(0, count - share))
        wanted -= given
        taking_turns = len(callers[name].returning) if name in callers else 0
        quotas[name] = given + min(taking_turns, math.ceil((count - given) / _TURNS))
    streams = set()
    for stream in running:
        if quotas[stream.caller]:
            quotas[stream.caller] -= 1
            streams.add(stream)
    return streams
