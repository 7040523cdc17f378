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

SPREAD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: neighbouring samples get distant seeds
_WORDS = 4  # 64-bit words that Philox makes of one counter value
_ROUNDS = 10
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B  # by which the keys grow from round to round
_UNIT = np.float32(2.0**-24)


def sample_seed(seed: int, index: int) -> int:
    """Returns the seed of sample ``index`` of a request with ``seed``; sample 0 has the request's own."""
    return (seed + index * SPREAD) % 2**64


def uniform(seed: int, position: int, count: int) -> NDArray[np.float32]:
    """Returns the random numbers ``position`` to ``position + count - 1`` of the stream of ``seed``.

    ``seed`` is 0 to 2**64 - 1; ``position`` counts from 0. Shape [count], multiples of 2**-24 in [0, 1).
    """
    counter, skip = divmod(position, _WORDS)
    words = np.random.Philox(key=seed, counter=counter).random_raw(skip + count)[skip:]
    return (words >> np.uint64(40)).astype(np.float32) * _UNIT


def uniforms(seeds: NDArray[np.uint64], positions: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Returns ``count`` random numbers of each of ``seeds`` [B] from its position in ``positions`` [B] on.

    Shape [B, count]; the same numbers as those of ``uniform``. Each position and ``count`` are multiples of 4, because
    a counter value makes four. All seeds take one pass over arrays, without an object for each.
    """
    counters = (positions // _WORDS)[:, None] + np.arange(1, count // _WORDS + 1)
    words = _philox(counters.astype(np.uint64), np.broadcast_to(seeds[:, None], counters.shape))
    return (words >> np.uint64(40)).astype(np.float32).reshape(len(seeds), count) * _UNIT


def _philox(counters: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the four words that Philox4x64-10 makes of each counter and key; the words are the last axis.

    The upper words of the counters and of the keys are 0, as in NumPy's ``Philox(key=seed, counter=…)``.
    """
    words: list[NDArray[np.uint64]] = [
        counters,
        np.zeros_like(counters),
        np.zeros_like(counters),
        np.zeros_like(counters),
    ]
    key0, key1 = keys, 0
    for _ in range(_ROUNDS):
        high0, low0 = _product(words[0], _MULTIPLIERS[0])
        high1, low1 = _product(words[2], _MULTIPLIERS[1])
        words = [high1 ^ words[1] ^ key0, low1, high0 ^ words[3] ^ np.uint64(key1), low0]
        key0, key1 = key0 + np.uint64(_WEYL[0]), (key1 + _WEYL[1]) % 2**64
    return np.stack(words, axis=-1)


def _product(words: NDArray[np.uint64], multiplier: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Returns the high and the low 64 bits of the products of ``words`` and ``multiplier``."""
    half, mask = np.uint64(32), np.uint64(2**32 - 1)
    low_factor, high_factor = np.uint64(multiplier % 2**32), np.uint64(multiplier >> 32)
    low, high = words & mask, words >> half
    cross = high * low_factor
    middle = ((low * low_factor) >> half) + (cross & mask) + low * high_factor
    return high * high_factor + (cross >> half) + (middle >> half), words * np.uint64(multiplier)


def draw_order(V: int) -> NDArray[np.int64]:
    """Returns the V ids in the order in which a draw adds up their probabilities: column by column."""
    if V <= MAX_FLAT_DRAW:
        return np.arange(V)
    rows = -(-V // DRAW_COLUMNS)
    order = np.arange(rows * DRAW_COLUMNS).reshape(rows, DRAW_COLUMNS).T.ravel()
    return order[order < V]
