"""Rows: the streams of a batch, each beside its row.

A lane keeps two of these, and moves streams between them as their work changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nextchar_model.batch import Batch

from .stream import Stream


@dataclass
class Rows:
    """Streams and their batch: row n of the batch is the state of the n-th stream."""

    streams: list[Stream]
    batch: Batch

    def __len__(self) -> int:
        return len(self.streams)

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
