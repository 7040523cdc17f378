"""Slices: the rows of a batch that one call of onnxruntime advances.

Below the runner, which advances bigger batches slice by slice. Each node of the graph makes its values for all rows
before the next node reads them. Those of a slice stay in the processor's cache, so a character costs a seventh less
than in a call with 1,000 rows, and the values of all nodes take as many times less memory.

Invariant: a slice has the bits of its rows; of a batch, two states of one slice exist at once, but not of all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from .batch import Batch, Steps

MAX_ROWS = 256
"""Most rows of a slice."""

_LEAST_ROWS = 64  # each call has a cost of its own: half a step
_UNITS = 2**15  # rows times hidden size: the gates of a slice, the largest values, take half a MB

Advance = Callable[[Batch, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], Steps]
"""Advances a slice, given its ids to read, its forced ids and its draws."""


def most_rows(hidden_size: int) -> int:
    """Returns the most rows of a slice of a network with ``hidden_size`` units per layer."""
    return min(MAX_ROWS, max(_LEAST_ROWS, _UNITS // hidden_size))


def advance_slices(
    batch: Batch,
    most: int,
    read: NDArray[np.int64],
    forced: NDArray[np.int64],
    draws: NDArray[np.float32],
    advance: Advance,
) -> Steps:
    """Advances ``batch`` in slices of ``most`` rows at most, of nearly equal size. Shapes are as in ``Runner``."""
    parts = math.ceil(len(batch) / most)
    inputs = (np.array_split(array, parts, axis=1) for array in (read, forced, draws))
    steps: list[Steps] = []

    def advanced() -> Iterator[Batch]:
        for one, *own in zip(batch.split(parts), *inputs, strict=True):
            steps.append(advance(one, *own))
            yield one

    batch.take_states(advanced())
    return Steps.join(steps)
