"""Batches: how a training reads its text.

B streams read passages of the text side by side, T ids a step, from the first id of a passage to its last. Every epoch
cuts the passages anew at a random offset and shuffles them. Like any document, a passage begins with state zero and
the boundary; and where a document begins near it, or else a line, it begins there, so that the model learns what the
beginning of a text looks like. Streams begin at different steps, and in a large text passages are much shorter than an
epoch: a short training sees beginnings all along.

Where a stream reads at a step follows from the step, so batches are left out without reading them, and of a text of
any size only what a step reads is in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextchar_model.alphabet import BOUNDARY

from .ids import Text

_PASSAGE_STEPS = 256  # at most


class TextTooShortError(ValueError):
    """A text has not even one batch."""


@dataclass(frozen=True)
class Minibatch:
    """What one step reads: B streams, T ids of each."""

    inputs: Tensor
    """Ids, int64 (T, B)."""
    targets: Tensor
    """The id after each of them, int64 (T, B)."""
    begins: Tensor
    """The streams that begin a passage, whose state is zero, bool (B, 1)."""


class Batches:
    """The batches of a training, without end: the same ones for the same text, sizes and seed."""

    def __init__(
        self,
        ids: Text,
        line_end: int | None,
        *,
        batch_size: int,
        sequence_length: int,
        seed: int,
        continuing: NDArray[np.bool_] | None = None,
    ) -> None:
        """Reads ``ids``, in which lines end with ``line_end`` and the ``continuing`` ones, [V], begin no character.

        Raises ``TextTooShortError``.
        """
        self._ids = ids
        self._line_end = line_end
        self._continuing = continuing
        self._B, self._T = batch_size, sequence_length
        of_all = len(ids) // (batch_size * sequence_length)
        if of_all == 0:
            raise TextTooShortError(
                f"the training text has {len(ids):,} ids, fewer than one batch of {batch_size} x "
                f"{sequence_length} = {batch_size * sequence_length:,}: "
                "give more text, or a smaller batch size or sequence length"
            )
        # The fewest rounds of B passages an epoch that keep passages short.
        self._rounds = math.ceil(of_all / _PASSAGE_STEPS)
        self._steps = of_all // self._rounds  # of a passage
        # First passages of different lengths: from then on, streams begin at different steps.
        self._first_steps = 1 + np.arange(batch_size) * self._steps // batch_size
        self._step = 0
        self._random = np.random.default_rng(seed)
        self._epochs: dict[int, NDArray[np.int64]] = {}  # where the passages begin of the last epochs drawn
        self._drawn = 0  # epochs
        self._round = np.full(batch_size, -1)  # of the passage that each stream reads
        self._begin = np.zeros(batch_size, dtype=np.int64)  # of that passage

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which the text is read once."""
        return self._rounds * self._steps

    @property
    def size(self) -> int:
        """Ids of a batch, B x T."""
        return self._B * self._T

    def __next__(self) -> Minibatch:
        B, T = self._B, self._T
        since = self._step - self._first_steps  # steps since the end of each stream's first passage
        rounds = np.where(since < 0, 0, 1 + since // self._steps)
        steps = np.where(since < 0, self._step, since % self._steps)  # of its passage that each stream has read
        for stream in np.flatnonzero(rounds != self._round):
            self._begin[stream] = self._passage(int(rounds[stream]), int(stream))
        self._round = rounds
        read = np.full((B, T + 1), BOUNDARY, dtype=np.int64)
        for row, place, begins in zip(read, (self._begin + steps * T).tolist(), (steps == 0).tolist(), strict=True):
            if begins:
                row[1:] = self._ids[place : place + T]
            else:
                row[:] = self._ids[place - 1 : place + T]
        ids = torch.from_numpy(np.ascontiguousarray(read.T))  # (T + 1, B)
        self._step += 1
        return Minibatch(ids[:-1], ids[1:], torch.from_numpy(steps[:, None] == 0))

    def skip(self, count: int) -> None:
        """Leaves ``count`` batches out."""
        self._step += count

    def _passage(self, number: int, stream: int) -> int:
        """Where a stream's passage of this number begins: at the document or line near the place that was drawn."""
        epoch, number = divmod(number, self._rounds)
        while epoch >= self._drawn:
            length, count = self._steps * self._T, self._rounds * self._B
            offset = self._random.integers(len(self._ids) - count * length + 1)
            self._epochs[self._drawn] = offset + self._random.permutation(count) * length
            self._epochs.pop(self._drawn - 2, None)  # streams are less than an epoch apart
            self._drawn += 1
        start = int(self._epochs[epoch][number * self._B + stream])
        # A line that begins less than T ids before: the end of the one before it is at most T ids before.
        near = self._ids[max(start - self._T, 0) : start]
        for end in (BOUNDARY, self._line_end):
            if len(ends := np.flatnonzero(near == end)):
                return start - len(near) + int(ends[-1]) + 1
        if start < self._T:
            return 0
        if self._continuing is not None:  # with a whole character
            begins = np.flatnonzero(~self._continuing[self._ids[start - self._T : start + 1]])
            start -= self._T - int(begins[-1]) if len(begins) else 0
        return start
