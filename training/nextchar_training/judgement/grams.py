"""N-grams: how far the distribution of a text's characters, pairs and triples is from that of another text.

A stage of the judgement. Of the longer text, the source, only the n-grams that the shorter one has are counted: the
others enter both distances by their sum. So memory is bounded by the shorter text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.composition import Codes

from .characters import END

ORDERS = (1, 2, 3)
"""Lengths of the n-grams that are compared."""

_BITS = 21  # of a code point: three of them fit one number

_Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Distance:
    """How far the n-grams of one order are from those of another text."""

    order: int
    total_variation: float
    """Half the sum of the differences of all probabilities: 0 to 1."""
    divergence: float
    """Jensen-Shannon divergence, in bits: 0 to 1 (Lin, IEEE Transactions on Information Theory 37, 1991)."""


def distances(texts: Sequence[Codes], source: Iterable[Codes]) -> list[tuple[Distance, ...]]:
    """Returns the distances of each of ``texts`` from ``source``, one for each of ``ORDERS``. Reads ``source`` once."""
    known = [[np.unique(_keys(text, order), return_counts=True) for order in ORDERS] for text in texts]
    found = [[np.zeros(len(keys), np.int64) for keys, _ in of_text] for of_text in known]
    totals = np.zeros(len(ORDERS), np.int64)
    rest = np.empty(0, np.uint32)
    for piece in source:
        for n, order in enumerate(ORDERS):
            keys = _keys(
                np.concatenate([rest[max(0, len(rest) - order + 1) :] if order > 1 else rest[:0], piece]), order
            )
            totals[n] += len(keys)
            for of_text, counts in zip(known, found, strict=True):
                counts[n] += _counted(keys, of_text[n][0])
        rest = np.concatenate([rest, piece])[-max(ORDERS) :]
    return [
        tuple(
            _distance(order, here, there, int(total))
            for order, (_, here), there, total in zip(ORDERS, of_text, counts, totals, strict=True)
        )
        for of_text, counts in zip(known, found, strict=True)
    ]


def frequencies(codes: Iterable[Codes]) -> dict[str, float]:
    """Returns the share of each character in ``codes``, the most frequent first. Reads them once."""
    counts = np.zeros(0x110000, np.int64)
    for piece in codes:
        of_piece = np.bincount(piece)
        counts[: len(of_piece)] += of_piece
    counts[END] = 0
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    return {chr(code): float(counts[code] / counts.sum()) for code in order.tolist()}


def _keys(codes: Codes, order: int) -> _Keys:
    """Returns a number for each n-gram of ``codes`` that is without ``END``."""
    if len(codes) < order:
        return np.empty(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, order)  # (n, order)
    keys = np.zeros(len(windows), np.uint64)
    for column in range(order):
        keys = (keys << np.uint64(_BITS)) | windows[:, column]
    whole: NDArray[np.bool_] = (windows != END).all(axis=1)
    return keys[whole]


def _counted(keys: _Keys, wanted: _Keys) -> NDArray[np.int64]:
    """Returns how often each of ``wanted``, which are sorted, occurs among ``keys``."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    rows = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return np.bincount(rows[wanted[rows] == keys], minlength=len(wanted))


def _distance(order: int, here: NDArray[np.int64], there: NDArray[np.int64], total: int) -> Distance:
    """Returns the distance of n-grams that occur ``here`` times in one text and ``there`` times among ``total``."""
    p, q = here / max(1, here.sum()), there / max(1, total)
    middle = (p + q) / 2
    known = np.divide(q, middle, out=np.ones_like(q), where=q > 0)
    shared = np.sum(p * np.log2(np.divide(p, middle, out=np.ones_like(p), where=middle > 0))) + np.sum(
        q * np.log2(known)
    )
    elsewhere = 1 - q.sum() if total else 0.0  # n-grams that the first text lacks: each adds q log2(q / (q / 2))
    return Distance(
        order,
        total_variation=float(1 - np.minimum(p, q).sum()),
        divergence=float(max(0.0, (shared + elsewhere) / 2)),
    )
