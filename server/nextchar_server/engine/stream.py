"""A stream: one request's row, from the queue to its last id.

The engine's unit of work. The event loop makes it, submits it and takes ids from its outbox; a lane's thread feeds the
model the ids to read, samples more, and fills the outbox. Knows ids, never text.

Invariant: each sampled id is taken exactly once, in order; the outbox holds at most ``OUTBOX_IDS`` ids plus
those of one turn; a stream ends once, and nothing follows its end.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids
from nextchar_model.batch import Batch, SamplingSettings
from nextchar_model.draws import uniform

OUTBOX_IDS = 1024
"""Number of untaken ids at which a stream leaves its batch until its reader catches up."""

_DRAWS = 1024  # random numbers made at a time, so that one call serves many turns


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


@dataclass
class IdChunk:
    """Consecutive ids of a stream, with their log-probabilities if the stream asked for them."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each id, in nats; empty unless the stream asked for it."""
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    """For each id, the likeliest ids in its place with their log-probabilities; empty unless the stream asked."""

    def extend(self, more: IdChunk) -> None:
        """Appends the chunk that follows this one."""
        self.ids += more.ids
        self.logprobs += more.logprobs
        self.alternatives += more.alternatives

    def split(self, count: int) -> tuple[IdChunk, IdChunk]:
        """Splits into the first ``count`` ids, or all if there are fewer, and the rest."""
        return (
            IdChunk(self.ids[:count], self.logprobs[:count], self.alternatives[:count]),
            IdChunk(self.ids[count:], self.logprobs[count:], self.alternatives[count:]),
        )


class Stream:
    """One request's row. Made on the event loop; only the event loop calls ``take``."""

    def __init__(
        self,
        *,
        read: Ids,
        count: int,
        settings: SamplingSettings | None = None,
        seed: int = 0,
        alternatives: int | None = None,
        reports_reading: bool = False,
    ) -> None:
        """Reads ``read`` from the start of a document, then samples ``count`` ids, or fewer if the boundary comes.

        ``alternatives`` is None for bare ids; otherwise each id comes with its log-probability and this many of the
        likeliest ids in its place. With ``reports_reading``, the ids that are read come out too, before the sampled
        ones.
        """
        self.read = read
        self.count = count
        self.settings = settings or SamplingSettings()
        self.seed = seed
        self.alternatives = alternatives
        self.reports_reading = reports_reading
        # Only the lane's thread changes these.
        self.read_count = 0
        self.sampled_count = 0
        self.row: Batch | None = None
        """The stream's row while it is in no batch; None before its first turn, and in a batch."""
        self.admitted_at: float | None = None
        """``time.monotonic()`` at the stream's first turn."""
        # Both sides use these.
        self.cancelled = False
        self.paused = False
        self._end: End | Exception | None = None
        self._outbox: deque[IdChunk] = deque()
        self._put = 0
        self._taken = 0
        self.came = asyncio.Event()
        self._draws: NDArray[np.float32] = np.empty(0, np.float32)
        self._draws_start = 0

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
        """Whether the first sampled id is still to come."""
        return self.sampled_count == 0 and self.count > 0

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
        return self._put - self._taken >= OUTBOX_IDS

    def draws(self, count: int) -> NDArray[np.float32]:
        """Returns the random numbers for the next ``count`` ids to sample."""
        first = self.sampled_count - self._draws_start
        if first + count > len(self._draws):
            self._draws_start, first = self.sampled_count, 0
            self._draws = uniform(self.seed, self.sampled_count, max(_DRAWS, count))
        return self._draws[first : first + count]

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

    # The event loop's side.

    async def take(self) -> IdChunk | End:
        """Returns the ids that gathered since the last call, or waits for some; after the last one, the end.

        Raises the exception with which the stream ended.
        """
        while True:
            end = self._end  # read before the outbox: a lane first fills the outbox, then ends the stream
            if self._outbox:
                break
            if isinstance(end, Exception):
                raise end
            if end is not None:
                return end
            self.came.clear()
            await self.came.wait()
        chunk = IdChunk()
        while self._outbox:
            chunk.extend(self._outbox.popleft())
        self._taken += len(chunk.ids)
        return chunk


def wake(streams: list[Stream]) -> None:
    """Wakes the readers of ``streams``. Lanes call it once per turn, since each call to the event loop costs."""
    for stream in streams:
        stream.came.set()
