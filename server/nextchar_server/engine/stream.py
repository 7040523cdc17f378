"""A stream: one request's row, from the queue to its last id.

The engine's unit of work. The event loop makes it, submits it and takes ids from its outbox; a lane's thread feeds the
model the ids to read, samples more, and fills the outbox. Knows ids, never text.

Invariant: each sampled id is taken exactly once, in order; the outbox holds less than ``OUTBOX_IDS`` ids and
``OUTBOX_BYTES`` bytes, plus one turn; no take returns more than these bounds or one turn; a stream ends once, and
nothing follows its end.
"""

from __future__ import annotations

import asyncio
import enum
import math
import time

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids
from nextchar_model.batch import Batch, SamplingSettings

from .draws import Draws
from .id_chunk import IdChunk as IdChunk
from .prefixes import Prefix
from .snapshot import SNAPSHOT_IDS, Snapshot, Snapshots

OUTBOX_IDS = 1024
"""Number of untaken ids at which a stream leaves its batch until its reader catches up."""

OUTBOX_BYTES = 64 * 2**10
"""Size of the untaken ids and log-probabilities, in bytes, at which a stream leaves its batch likewise."""

EVERY = 2**31
"""More alternatives than any model has."""

_ID_BYTES = 4
_LOGPROB_BYTES = 4  # and 4 more for the id of an alternative

LATE = 0.25
"""Seconds after which a stream leaves its batch likewise, because its reader hasn't taken a message."""


class End(enum.Enum):
    """Why a stream ended without an error."""

    COUNT = enum.auto()
    """All ids that were asked for are sampled."""
    BOUNDARY = enum.auto()
    """The model ended the document."""
    DRAINED = enum.auto()
    """The server is shutting down, and the drain timeout has passed."""


class LaneError(Exception):
    """A turn of the stream's lane failed. The log has the traceback, under ``lane_turn_failed``."""


class Stream:
    """One request's row. Made on the event loop; only the event loop calls ``take``."""

    __slots__ = (  # because a dictionary of 32 attributes takes 1.5 to 2.3 KB
        "_draws", "_end", "_most", "_next_snapshot", "_outbox", "_put", "_taken", "_waiter", "admitted_at",
        "alternatives", "caller", "cancelled", "count", "details", "end_logprob", "is_slowed", "keeps_end",
        "most_taken", "most_untaken", "paused", "prefix", "read", "read_count", "reports_reading", "row",
        "sampled_count", "settings", "silent", "snapshots", "sought", "start", "unread_since",
    )  # fmt: skip

    def __init__(
        self,
        *,
        read: Ids,
        count: int,
        settings: SamplingSettings | None = None,
        seed: int = 0,
        alternatives: int | None = None,
        details: bool = False,
        reports_reading: bool = False,
        reports_last: int = 0,
        most_taken: int = OUTBOX_IDS,
        most_snapshots: int = 0,
        keeps_end: bool = False,
        start: Snapshot | None = None,
        position: int = 0,
        caller: str = "",
    ) -> None:
        """Reads ``read`` from the start of a document, then samples ``count`` ids, or fewer if the boundary comes.

        A stream with ``start`` continues from there instead; ``position`` random numbers of its seed are used up.
        ``most_snapshots`` is the number of snapshots that it keeps, the latest ones; with ``keeps_end``, a stream of
        which ``count`` is 0 has one of the state after the last id that it read.
        ``alternatives`` is None for bare ids; otherwise each id comes with its log-probability and this many of the
        likeliest ids in its place, and with its rank and the entropy if it wants ``details``. With ``reports_reading``,
        the ids that are read come out too, before the sampled ones; otherwise the last ``reports_last`` of them.
        ``take`` returns at most ``most_taken`` ids, or those of one turn. ``caller`` names the connection with which
        the stream shares its even part of the places.
        """
        self.read = read
        self.count = count
        self.settings = settings or SamplingSettings()
        self.alternatives = alternatives
        self.details = details
        self.sought = EVERY if details else alternatives or 0
        """Number of alternatives for which the graph has to look."""
        self.reports_reading = reports_reading
        self.silent = 0 if reports_reading else len(read) - reports_last
        """Number of ids that are read and don't come out."""
        columns = 0 if alternatives is None else 1 + 2 * alternatives + 2 * details
        size = _ID_BYTES + _LOGPROB_BYTES * columns
        self.most_untaken = min(OUTBOX_IDS, OUTBOX_BYTES // size)
        """Number of ids in the outbox at which the stream leaves its batch."""
        self.most_taken = min(most_taken, self.most_untaken)
        self._most = self.most_untaken, self.most_taken
        self.keeps_end = keeps_end
        self.is_slowed = False
        """Whether its reader waits until its caller may have more, so that its row needs few steps of its own."""
        self.start = start
        self.caller = caller
        self._outbox: list[IdChunk] = []
        self._draws = Draws(seed, position, count)
        self.snapshots = Snapshots(most_snapshots)
        """The lane adds them before the ids that follow; the reader takes them."""
        self._next_snapshot = SNAPSHOT_IDS if most_snapshots else math.inf  # ids consumed
        self._begin()

    def _begin(self) -> None:
        """Sets the attributes of a stream that hasn't begun."""
        # Only the lane's thread changes these.
        self.read_count = self.sampled_count = 0
        self.row: Batch | None = None
        """The stream's row while it is in no batch; None before its first turn, and in a batch."""
        self.admitted_at: float | None = None
        """``time.monotonic()`` at the stream's first turn."""
        self.prefix: Prefix | None = None
        """The longest part of ``read`` that was found or kept in the cache; None if the stream doesn't use it."""
        # Both sides use these.
        self.cancelled = self.paused = False
        self.unread_since: float | None = None
        """``time.monotonic()`` since which the reader has had a message to take; None if it has none."""
        self.end_logprob = 0.0
        """Log-probability of the boundary that ended it, in nats; 0 if none did."""
        self._end: End | Exception | None = None
        self._put = self._taken = 0  # ids
        self._waiter: asyncio.Future[None] | None = None  # of the reader, if it has waited

    # The lane's side.

    @property
    def left_to_read(self) -> int:
        """Number of ids still to read."""
        return len(self.read) - self.read_count

    @property
    def left(self) -> int:
        """Number of steps to the end of the stream, unless the boundary comes first."""
        return self.left_to_read + self.count - self.sampled_count

    @property
    def awaits_first(self) -> bool:
        """Whether the first sampled id is still to come, or the state after the last one that is read."""
        return self.sampled_count == 0 and (self.count > 0 or self.keeps_end)

    @property
    def is_over(self) -> bool:
        """Whether the stream ended or was cancelled, so that its row can be dropped."""
        return self.cancelled or self._end is not None

    @property
    def is_new(self) -> bool:
        """Whether nothing has been put into the outbox yet."""
        return self._put == 0

    @property
    def is_full(self) -> bool:
        """Whether the reader is so far behind that the row must leave the batch."""
        if self._put - self._taken >= self.most_untaken:
            return True
        since = self.unread_since  # once, because the event loop changes it meanwhile
        return since is not None and self._put > self._taken and time.monotonic() - since > LATE

    def draws(self, count: int) -> NDArray[np.float32]:
        """Returns the random numbers for the next ``count`` ids to sample."""
        return self._draws.take(self.sampled_count, count)

    def keep_state(self, batch: Batch, row: int) -> None:
        """Adds a snapshot of ``row``, which is in the stream's state, if it is time for one."""
        consumed = self.read_count + self.sampled_count
        if consumed >= self._next_snapshot or (self.keeps_end and not self.left):
            self._next_snapshot = consumed + SNAPSHOT_IDS
            self.snapshots.add(Snapshot.of(batch, row, consumed))

    def put(self, chunk: IdChunk) -> None:
        """Adds to the outbox. The caller must call ``wake`` afterwards."""
        self._put += len(chunk.ids)
        self._outbox.append(chunk)

    def end(self, end: End | Exception) -> None:
        """Ends the stream, unless it has ended: the reader gets ``end``, raised if it is an exception.

        The caller must call ``wake`` afterwards.
        """
        if self._end is None:
            self._end = end

    def break_off(self, error: Exception) -> None:
        """Ends the stream now, even if it has ended: the reader gets ``error`` instead of the rest.

        The caller must call ``wake`` afterwards.
        """
        self._end = error
        self._outbox.clear()

    # The event loop's side.

    @property
    def is_broken_off(self) -> bool:
        """Whether the stream ended before its text did, so that its reader should take the rest at once."""
        return self._end is End.DRAINED or isinstance(self._end, Exception)

    def start_behind(self, snapshot: Snapshot) -> None:
        """Lets a new stream start behind all that it reads, in the state of ``snapshot``; none of it comes out."""
        self.start, self.read_count = snapshot, len(self.read)

    def pace(self, portion: int, *, is_slowed: bool) -> None:
        """Lets the reader take about ``portion`` ids at a time, and the row run no further ahead."""
        self.is_slowed = is_slowed
        self.most_untaken, self.most_taken = (min(most, portion) for most in self._most)

    async def ready(self) -> None:
        """Waits until there is something to take: ids, or the end."""
        # The end is read before the outbox: a lane first fills the outbox, then ends the stream.
        while self._end is None and not self._outbox:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def wake(self) -> None:
        """Lets the reader look again whether there is something to take, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> IdChunk | End:
        """Returns the next ids, as many as gathered since the last call up to a bound. The stream is ``ready``.

        After the last one, returns the end, or raises the exception with which the stream ended.
        """
        if not self._outbox:
            if isinstance(self._end, Exception):
                raise self._end
            assert self._end is not None
            return self._end
        chunks: list[IdChunk] = []
        count = 0
        while self._outbox and (not chunks or count + len(self._outbox[0].ids) <= self.most_taken):
            chunks.append(self._outbox.pop(0))
            count += len(chunks[-1].ids)
        self._taken += count
        return IdChunk.join(chunks)


def wake(streams: list[Stream]) -> None:
    """Wakes the readers of ``streams``. Lanes call it once per turn, since each call to the event loop costs."""
    for stream in streams:
        stream.wake()
