"""Rows: the streams of a batch, each beside its row; and groups of them, whose steps cost alike.

A lane keeps two groups, and a group two batches. Streams move between its batches as their work changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.batch import Batch, Steps
from nextchar_model.runner import Runner

from .stream import IdChunk, Stream


@dataclass
class Rows:
    """Streams and their batch: row n of the batch is the state of the n-th stream."""

    streams: list[Stream]
    batch: Batch
    wake_at: float = 0.0
    """``time.monotonic()`` from which the streams' readers are woken again."""

    def __len__(self) -> int:
        return len(self.streams)

    @staticmethod
    def start(streams: list[Stream], runner: Runner) -> Rows:
        """Returns the rows of ``streams``, each at the start of a document, or from its own start."""
        batch = runner.start([stream.settings for stream in streams])
        for row, stream in enumerate(streams):
            if stream.start is not None:
                stream.start.put_into(batch, row)
        return Rows(streams, batch)

    def join(self, others: Rows | None) -> None:
        """Appends ``others``; None appends nothing."""
        if others is not None:
            self.streams = self.streams + others.streams
            self.batch = Batch.join([self.batch, others.batch])

    def take(self, is_taken: Callable[[Stream], bool]) -> Rows | None:
        """Removes and returns the streams for which ``is_taken`` is true, with their rows; None if there are none."""
        taken = [is_taken(stream) for stream in self.streams]
        if not any(taken):
            return None
        rows = [row for row, is_one in enumerate(taken) if is_one]
        kept = [row for row, is_one in enumerate(taken) if not is_one]
        others = Rows([self.streams[row] for row in rows], self.batch.take(rows))
        self.streams, self.batch = [self.streams[row] for row in kept], self.batch.take(kept)
        return others

    def drop(self, is_dropped: Callable[[Stream], bool]) -> None:
        """Removes the streams for which ``is_dropped`` is true, with their rows, of which no copy is made."""
        kept = [row for row, stream in enumerate(self.streams) if not is_dropped(stream)]
        if len(kept) < len(self.streams):
            self.streams, self.batch = [self.streams[row] for row in kept], self.batch.take(kept)

    def part(self) -> None:
        """Lets each stream keep its own row, until it joins another batch."""
        for row, stream in enumerate(self.streams):
            stream.row = self.batch.take([row])


class Group:
    """Rows of a lane whose steps cost alike."""

    def __init__(self, make_rows: Callable[[], Rows]) -> None:
        """``make_rows`` returns no rows."""
        self.reading = make_rows()
        """Streams that await their first id."""
        self.running = make_rows()
        """All others."""
        self.step_seconds: dict[int, float] = {}
        """Mean seconds per step, by the bit length of the number of rows."""

    def __len__(self) -> int:
        return len(self.reading) + len(self.running)

    @property
    def streams(self) -> list[Stream]:
        """All streams of the group."""
        return self.reading.streams + self.running.streams

    def join(self, rows: Rows) -> None:
        """Adds ``rows``."""
        self.reading.join(rows)
        self.settle()

    def settle(self) -> None:
        """Moves the streams that no longer await their first id."""
        self.running.join(self.reading.take(lambda stream: not stream.awaits_first))

    def drop_ended(self) -> None:
        """Drops the rows of streams that ended or were cancelled, before they cost another turn."""
        for rows in (self.reading, self.running):
            rows.drop(lambda stream: stream.is_over)


def copied(stream: Stream, result: Steps, row: int, ids: NDArray[np.int32], start: int, until: int) -> IdChunk:
    """Returns ``ids``, [steps] of ``row``, from ``start`` to ``until``, with all that ``stream`` wants of ``result``.

    They are copies, because a view would hold the results of all rows for as long as a reader is slow.
    """
    if stream.alternatives is None:
        return IdChunk(ids[start:until].copy())
    part = slice(start, until)
    top_ids, top_logprobs = result.top_ids[part, row], result.top_logprobs[part, row]
    return IdChunk(
        ids[part].copy(),
        result.logprob[part, row].copy(),
        top_ids[:, : stream.alternatives].astype(np.int32),
        top_logprobs[:, : stream.alternatives].copy(),
        _details(ids[part], top_ids, top_logprobs) if stream.details else None,
    )


def _details(
    ids: NDArray[np.int32], top_ids: NDArray[np.int64], top_logprobs: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns the rank of each of ``ids`` and the entropy in its place, [ids, 2], from all alternatives, [ids, V]."""
    ranks = 1 + (top_ids == ids[:, None]).argmax(1)
    exact = top_logprobs.astype(np.float64)
    entropies = -(np.exp(exact) * exact).sum(1)
    return np.stack([ranks, entropies], 1).astype(np.float32)
