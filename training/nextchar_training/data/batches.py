"""Batches: how a training reads its text.

B streams read passages of the text side by side, T ids per step, each from the first id of the passage to its last. At
every epoch the text is cut into passages anew, at a random offset, and these are shuffled. Like any document, a passage
begins with state zero and the boundary. It begins at the beginning of a document near the place that was drawn, or else
of a line, so that the model learns how texts begin. Streams change passages at different steps, and passages of a large
text are much shorter than an epoch, so even a short training sees beginnings all along.

A stream's position is a function of the step number, so skipping is free, and memory doesn't grow with the corpus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextchar_model.alphabet import BOUNDARY

from .ids import IdSequence

_PASSAGE_STEPS = 256  # of a passage at most


class TextTooShortError(ValueError):
    """A text is shorter than one batch."""


@dataclass(frozen=True)
class Minibatch:
    """The batch of one step: T ids from each of B streams."""

    inputs: Tensor
    """Ids, int64 (T, B)."""
    targets: Tensor
    """The id after each input, int64 (T, B)."""
    begins: Tensor
    """Whether each stream begins a passage, and so starts from state zero, bool (B, 1)."""
    places: Tensor
    """The place of each stream's first target in the text, int64 (B,)."""


class Batches:
    """An endless iterator over batches: the same ones for the same text, sizes and seed."""

    def __init__(
        self,
        ids: IdSequence,
        line_end: int | None,
        *,
        batch_size: int,
        sequence_length: int,
        seed: int,
        continuing: NDArray[np.bool_] | None = None,
    ) -> None:
        """Reads ``ids``, in which lines end with ``line_end``, if there is such an id.

        ``continuing``, [V], marks the ids that continue a character, if there are any. Raises ``TextTooShortError``.
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
                "give more text, or a smaller --batch-size or --sequence-length"
            )
        # As few rounds of B passages per epoch as keep the passages short.
        self._rounds = math.ceil(of_all / _PASSAGE_STEPS)
        self._steps = of_all // self._rounds  # of a passage
        # The first passages have different lengths, so that streams change passages at different steps.
        self._first_steps = 1 + np.arange(batch_size) * self._steps // batch_size
        self._step = 0
        self._random = np.random.default_rng(seed)
        self._epochs: dict[int, NDArray[np.int64]] = {}  # starts of the passages of the last epochs
        self._drawn = 0  # epochs
        self._round = np.full(batch_size, -1)  # in which each stream reads its passage, [B]
        self._begin = np.zeros(batch_size, dtype=np.int64)  # of that passage, [B]

    @property
    def steps_per_epoch(self) -> int:
        """Batches that read the text once."""
        return self._rounds * self._steps

    @property
    def size(self) -> int:
        """Ids per batch, B x T."""
        return self._B * self._T

    def __next__(self) -> Minibatch:
        B, T = self._B, self._T
        since = self._step - self._first_steps  # steps since the end of each stream's first passage
        rounds = np.where(since < 0, 0, 1 + since // self._steps)
        steps = np.where(since < 0, self._step, since % self._steps)  # of its passage, read so far
        for stream in np.flatnonzero(rounds != self._round):
            self._begin[stream] = self._passage(int(rounds[stream]), int(stream))
        self._round = rounds
        read = np.full((B, T + 1), BOUNDARY, dtype=np.int64)
        places = self._begin + steps * T
        for row, place, begins in zip(read, places.tolist(), (steps == 0).tolist(), strict=True):
            if begins:
                row[1:] = self._ids[place : place + T]
            else:
                row[:] = self._ids[place - 1 : place + T]
        ids = torch.from_numpy(np.ascontiguousarray(read.T))  # (T + 1, B)
        self._step += 1
        return Minibatch(ids[:-1], ids[1:], torch.from_numpy(steps[:, None] == 0), torch.from_numpy(places))

    def skip(self, count: int) -> None:
        """Skips ``count`` batches."""
        self._step += count

    def _passage(self, number: int, stream: int) -> int:
        """The start of a stream's passage: that of the document or line near the place that was drawn."""
        epoch, number = divmod(number, self._rounds)
        while epoch >= self._drawn:
            length, count = self._steps * self._T, self._rounds * self._B
            offset = self._random.integers(len(self._ids) - count * length + 1)
            self._epochs[self._drawn] = offset + self._random.permutation(count) * length
            self._epochs.pop(self._drawn - 2, None)  # all streams are past it: they are less than an epoch apart
            self._drawn += 1
        start = int(self._epochs[epoch][number * self._B + stream])
        # If a line begins less than T ids before, the line before it ends at most T ids before.
        near = self._ids[max(start - self._T, 0) : start]
        for end in (BOUNDARY, self._line_end):
            if len(ends := np.flatnonzero(near == end)):
                return start - len(near) + int(ends[-1]) + 1
        if start < self._T:
            return 0
        if self._continuing is not None:  # begin with a whole character
            begins = np.flatnonzero(~self._continuing[self._ids[start - self._T : start + 1]])
            start -= self._T - int(begins[-1]) if len(begins) else 0
        return start
