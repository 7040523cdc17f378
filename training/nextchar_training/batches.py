"""Batches: how a training reads its text.

B streams read passages of the text side by side, T characters a step, from the first character of a passage to its
last. Every epoch cuts the passages anew at a random offset and shuffles them. Like any document, a passage begins
with state zero and the boundary, and with a line where one is near, so that the model learns what the beginning of a
text looks like. Streams begin at different steps, and in a large text passages are much shorter than an epoch: a
short training sees beginnings all along.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from nextchar_training.alphabet import BOUNDARY, Ids

_PASSAGE_STEPS = 256  # at most


class TextTooShortError(ValueError):
    """A text has not even one batch."""


@dataclass(frozen=True)
class Batch:
    """What one step reads: B streams, T ids of each."""

    inputs: Tensor
    """Ids, int64 (T, B)."""
    targets: Tensor
    """The id after each of them, int64 (T, B)."""
    begins: Tensor
    """The streams that begin a passage, whose state is zero, bool (B, 1)."""


class Batches:
    """The batches of a training, without end: the same ones for the same text, sizes and seed."""

    def __init__(self, ids: Ids, line_end: int | None, *, batch_size: int, sequence_length: int, seed: int) -> None:
        """Reads ``ids``, in which lines end with ``line_end``. Raises ``TextTooShortError``."""
        self._ids = ids
        self._lines = _line_starts(ids, line_end)
        self._B, self._T = batch_size, sequence_length
        of_all = len(ids) // (batch_size * sequence_length)
        if of_all == 0:
            raise TextTooShortError(
                f"the training text has {len(ids):,} characters, fewer than one batch of {batch_size} x "
                f"{sequence_length} = {batch_size * sequence_length:,}: "
                "give more text, or a smaller batch size or sequence length"
            )
        # The fewest rounds of B passages an epoch that keep passages short.
        self._rounds = math.ceil(of_all / _PASSAGE_STEPS)
        self._steps = of_all // self._rounds  # of a passage
        self._batches = self._read(np.random.default_rng(seed))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which the text is read once."""
        return self._rounds * self._steps

    def __next__(self) -> Batch:
        return next(self._batches)

    def skip(self, count: int) -> None:
        """Leaves ``count`` batches out."""
        for _ in islice(self._batches, count):
            pass

    def _read(self, random: np.random.Generator) -> Iterator[Batch]:
        B, T = self._B, self._T
        passages = self._passages(random)
        places = np.zeros(B, dtype=np.int64)  # of each stream's next character
        last = np.zeros(B, dtype=np.int64)  # each stream's character before it
        # First passages of different lengths: from then on, streams begin at different steps.
        steps_left = 1 + np.arange(B) * self._steps // B
        begins = np.ones(B, dtype=bool)
        while True:
            places[begins] = list(islice(passages, int(begins.sum())))
            last[begins] = BOUNDARY
            targets = self._ids[places + np.arange(T)[:, None]]  # (T, B)
            inputs = np.concatenate([last[None], targets[:-1]])
            yield Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(begins[:, None].copy()))
            places += T
            last = targets[-1].copy()
            steps_left -= 1
            begins = steps_left == 0
            steps_left[begins] = self._steps

    def _passages(self, random: np.random.Generator) -> Iterator[int]:
        """Where passages begin, without end: all of one epoch, shuffled, then all of the next."""
        length = self._steps * self._T
        count = self._rounds * self._B
        while True:
            starts = random.integers(len(self._ids) - count * length + 1) + random.permutation(count) * length
            lines = self._lines[np.searchsorted(self._lines, starts, side="right") - 1]
            yield from np.where(starts - lines < self._T, lines, starts).tolist()


def _line_starts(ids: Ids, line_end: int | None) -> Ids:
    """Where the lines of ``ids`` begin, in ascending order; the first is 0."""
    if line_end is None:
        return np.array([0])
    return np.concatenate([[0], np.flatnonzero(ids[:-1] == line_end) + 1])
