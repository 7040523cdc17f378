"""The draws: a stream's random numbers, and the order in which a draw walks the ids.

A random number is a pure function of the stream's seed and a position. The generator is counter-based, Philox4x64-10
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so there is no state to keep: a stream can
stop, move and continue anywhere, and no stream disturbs another. NumPy guarantees the raw output of its bit
generators across releases (NEP 19).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_FLAT_DRAW = 1024
"""Largest number of ids V that a draw walks one by one. More ids are arranged in columns."""

DRAW_COLUMNS = 128
"""Columns in which the ids of a large alphabet are arranged, row after row."""

_SPREAD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: neighbouring samples get distant seeds
_WORDS = 4  # 64-bit words that Philox makes of one counter value
_UNIT = np.float32(2.0**-24)


def sample_seed(seed: int, index: int) -> int:
    """Returns the seed of sample ``index`` of a request with ``seed``; sample 0 has the request's own."""
    return (seed + index * _SPREAD) % 2**64


def uniform(seed: int, position: int, count: int) -> NDArray[np.float32]:
    """Returns the random numbers ``position`` to ``position + count - 1`` of the stream of ``seed``.

    ``seed`` is 0 to 2**64 - 1; ``position`` counts from 0. Shape [count], multiples of 2**-24 in [0, 1).
    """
    counter, skip = divmod(position, _WORDS)
    words = np.random.Philox(key=seed, counter=counter).random_raw(skip + count)[skip:]
    return (words >> np.uint64(40)).astype(np.float32) * _UNIT


def draw_order(V: int) -> NDArray[np.int64]:
    """Returns the V ids in the order in which a draw adds up their probabilities: column by column."""
    if V <= MAX_FLAT_DRAW:
        return np.arange(V)
    rows = -(-V // DRAW_COLUMNS)
    order = np.arange(rows * DRAW_COLUMNS).reshape(rows, DRAW_COLUMNS).T.ravel()
    return order[order < V]
