"""Chunks of ids, which a lane puts into a stream's outbox, and its reader takes out.

Below the stream. Knows ids, never text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class IdChunk:
    """Consecutive ids of a stream, in columns. All log-probabilities are in nats.

    The three other columns are None unless the stream asked for log-probabilities. N is its number of alternatives.
    """

    ids: NDArray[np.int32]
    """[ids]"""
    logprobs: NDArray[np.float32] | None = None
    """[ids]: the log-probability of each id."""
    top_ids: NDArray[np.int32] | None = None
    """[ids, N]: the likeliest ids in its place, likeliest first."""
    top_logprobs: NDArray[np.float32] | None = None
    """[ids, N]: their log-probabilities."""
    details: NDArray[np.float32] | None = None
    """[ids, 2]: the rank of each id among all, and the entropy in its place; None if the stream wants none."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> IdChunk:
        if self.logprobs is None or self.top_ids is None or self.top_logprobs is None:
            return IdChunk(self.ids[part])
        details = None if self.details is None else self.details[part]
        return IdChunk(self.ids[part], self.logprobs[part], self.top_ids[part], self.top_logprobs[part], details)

    @staticmethod
    def join(chunks: Sequence[IdChunk]) -> IdChunk:
        """Returns one chunk of the ids of ``chunks``, of which there is at least one, in order."""
        if len(chunks) == 1:
            return chunks[0]
        ids = np.concatenate([chunk.ids for chunk in chunks])
        if chunks[0].logprobs is None:
            return IdChunk(ids)
        columns = zip(*[(chunk.logprobs, chunk.top_ids, chunk.top_logprobs) for chunk in chunks], strict=True)
        details = [chunk.details for chunk in chunks if chunk.details is not None]
        logprobs, top_ids, top_logprobs = map(np.concatenate, columns)
        return IdChunk(ids, logprobs, top_ids, top_logprobs, np.concatenate(details) if details else None)
