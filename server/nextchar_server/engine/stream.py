"""A stream: one request's row, from the queue to its last id.

The engine's unit of work. The event loop makes it, submits it and takes from its outbox; a lane's thread
reads its ids, samples more, and fills the outbox. It knows ids, never text.

What always holds: an id that was sampled is taken exactly once, in order; the outbox holds at most
``OUTBOX_IDS`` and what one turn adds; a stream ends once, and nothing follows its end.
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
"""Ids that wait for a slow reader before its row leaves the batch."""

_DRAWS = 1024  # random numbers made at a time: one call for many turns


class End(enum.Enum):
    """Why a stream ended by itself."""

    COUNT = enum.auto()
    """All the ids that it asked for were sampled."""
    BOUNDARY = enum.auto()
    """The model ended the document."""
    DRAINED = enum.auto()
    """The server shuts down, and its patience is over."""


class LaneError(Exception):
    """A turn of the stream's lane failed; the log has all of it, under ``lane_turn_failed``."""


@dataclass
class Chunk:
    """Some ids of a stream, one after another, and what is known of each."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of each id, in nats; empty unless the stream wants them."""
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    """Likeliest ids in each id's place with their log-probabilities; empty unless the stream wants them."""

    def extend(self, more: Chunk) -> None:
        """Adds what follows."""
        self.ids += more.ids
        self.logprobs += more.logprobs
        self.alternatives += more.alternatives

    def split(self, count: int) -> tuple[Chunk, Chunk]:
        """The first ``count`` ids, or as many as there are, and the rest."""
        return (
            Chunk(self.ids[:count], self.logprobs[:count], self.alternatives[:count]),
            Chunk(self.ids[count:], self.logprobs[count:], self.alternatives[count:]),
        )


class Stream:
    """One request's row. Made on the event loop, which alone calls ``take``."""

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
        """Reads ``read`` from the start of a document, then samples ``count`` ids or up to the boundary.

        ``alternatives`` is None for bare ids, else the number of likeliest ids to give beside each id and its
        log-probability. ``reports_reading`` gives the ids that are read as well as those that are sampled.
        """
        self.read = read
        self.count = count
        self.settings = settings or SamplingSettings()
        self.seed = seed
        self.alternatives = alternatives
        self.reports_reading = reports_reading
        # A lane's thread alone moves these.
        self.read_count = 0
        self.sampled_count = 0
        self.row: Batch | None = None
        """State of the stream while it is in no batch; None before its first turn."""
        self.admitted_at: float | None = None
        """``time.monotonic`` at its first turn."""
        # Both sides look at these.
        self.cancelled = False
        self.paused = False
        self._end: End | Exception | None = None
        self._outbox: deque[Chunk] = deque()
        self._put = 0
        self._taken = 0
        self.came = asyncio.Event()
        self._draws: NDArray[np.float32] = np.empty(0, np.float32)
        self._draws_start = 0

    # The lane's side.

    @property
    def left_to_read(self) -> int:
        """Ids to read yet."""
        return len(self.read) - self.read_count

    @property
    def left(self) -> int:
        """Steps to the end of the stream, unless the boundary comes first."""
        return self.left_to_read + self.count - self.sampled_count

    @property
    def awaits_first(self) -> bool:
        """Whether the first sampled id is still to come."""
        return self.sampled_count == 0 and self.count > 0

    @property
    def is_over(self) -> bool:
        """Whether nobody wants more of the stream: it ended or was cancelled, and its row is to be dropped."""
        return self.cancelled or self._end is not None

    @property
    def is_new(self) -> bool:
        """Whether nothing was put yet."""
        return self._put == 0

    @property
    def is_full(self) -> bool:
        """Whether the reader is so far behind that the row has to leave the batch."""
        return self._put - self._taken >= OUTBOX_IDS

    def draws(self, count: int) -> NDArray[np.float32]:
        """The random numbers of the next ``count`` ids to sample."""
        first = self.sampled_count - self._draws_start
        if first + count > len(self._draws):
            self._draws_start, first = self.sampled_count, 0
            self._draws = uniform(self.seed, self.sampled_count, max(_DRAWS, count))
        return self._draws[first : first + count]

    def put(self, chunk: Chunk) -> None:
        """Adds to the outbox. ``wake`` has to follow."""
        self._put += len(chunk.ids)
        self._outbox.append(chunk)

    def end(self, end: End | Exception) -> None:
        """Ends the stream; an exception is raised at the reader. ``wake`` has to follow."""
        if self._end is None:
            self._end = end

    # The event loop's side.

    async def take(self) -> Chunk | End:
        """All that has gathered since the last call, waiting for it if need be; at the last, the end."""
        while True:
            end = self._end  # looked at before the outbox: a lane puts what came first, and ends the stream then
            if self._outbox:
                break
            if isinstance(end, Exception):
                raise end
            if end is not None:
                return end
            self.came.clear()
            await self.came.wait()
        chunk = Chunk()
        while self._outbox:
            chunk.extend(self._outbox.popleft())
        self._taken += len(chunk.ids)
        return chunk


def wake(streams: list[Stream]) -> None:
    """Tells the readers of ``streams`` that something came: one call to the event loop a turn, not one a stream."""
    for stream in streams:
        stream.came.set()
