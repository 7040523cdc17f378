"""Delivery: the ids of a lane's turn, on their way to the streams' outboxes.

The last part of each turn. Fills the outboxes, wakes the readers that are due, and drops the rows of streams that
ended. Those whose reader is too far behind leave the batch.

Invariant: a lane calls the event loop once for each batch that it advanced, however many readers are woken.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop

import numpy as np

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import Steps

from .admission import Admission
from .rows import Rows, copied
from .stream import End, Stream, wake

MESSAGE_PACE = 600e-6
"""Mean seconds between two messages of a lane's streams. A message costs the event loop 30 to 70 µs, so messages take
about a tenth of a core whatever the number of streams; with more streams, each message carries more characters.
"""


class Delivery:
    """Hands out the ids of one lane."""

    def __init__(self, admission: Admission, loop: AbstractEventLoop) -> None:
        """The streams' readers run on ``loop``."""
        self._admission = admission
        self._loop = loop

    def deliver(self, rows: Rows, result: Steps, steps: int, *, paced: int) -> None:
        """Hands out ``result``, the last ``steps`` steps of ``rows``, and drops the rows that ended.

        ``rows`` share their pace with all ``paced`` rows of their kind; 0 means that readers are woken at once.
        """
        ids = np.ascontiguousarray(result.ids.T, np.int32)
        has_boundary = (result.ids == BOUNDARY).any(axis=0).tolist()
        woken: list[Stream] = []
        over: set[Stream] = set()
        full: set[Stream] = set()
        now = time.monotonic()
        is_due = now >= rows.wake_at
        if is_due:
            rows.wake_at = now + MESSAGE_PACE * paced
        for row, stream in enumerate(rows.streams):
            left = stream.left
            reads = min(stream.left_to_read, steps)
            until = min(left, steps)
            end: End | None = None
            if has_boundary[row] and len(places := np.flatnonzero(ids[row, reads:until] == BOUNDARY)):
                until = reads + int(places[0])
                end = End.BOUNDARY
                stream.end_logprob = float(result.logprob[until, row])
            stream.read_count += reads
            stream.sampled_count += until - reads
            if end is None and until == left:
                end = End.COUNT
            if stream.is_over:
                over.add(stream)
                continue
            if until == steps:  # the row took no step beyond the stream's end
                stream.keep_state(rows.batch, row)
            start = max(0, reads - max(0, stream.read_count - stream.silent)) if reads else 0
            if start < until:
                is_first = stream.is_new
                stream.put(copied(stream, result, row, ids[row], start, until))
                if is_due or is_first:
                    woken.append(stream)
            if end is not None:
                stream.end(end)
                over.add(stream)
                woken.append(stream)
            elif stream.is_full:
                full.add(stream)
        if over:
            rows.drop(over.__contains__)
        # Streams whose reader is too far behind leave with their state, and return when the reader has caught up.
        if full and (paused := rows.take(full.__contains__)) is not None:
            paused.part()
            self._admission.pause(paused.streams)
            woken += paused.streams
        if woken:
            self.wake(woken)

    def wake(self, streams: list[Stream]) -> None:
        """Lets the readers of ``streams`` look again whether there is something to take."""
        self._loop.call_soon_threadsafe(wake, streams)
