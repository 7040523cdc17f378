"""The lines of a text: how many are copied, how many differ, and how long they are.

A stage of the judgement. The longer text, the source, is read once, piece by piece. Empty lines don't count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nextchar_model.composition import Codes, text_of

from .characters import END

LONG = 20
"""Characters from which on a line counts as long: the same short lines are written again without any copying."""

LONGEST = 1000
"""Longer lines count as this long in a distribution of lengths."""

_LINE_END = ord("\n")


@dataclass
class Source:
    """The lines of the longer text, as far as they matter."""

    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LONGEST + 1, np.int64))
    """Lines of each length, [LONGEST + 1]."""
    known: set[str] = field(default_factory=set)
    """Those of the lines looked for that occur in it."""


@dataclass(frozen=True)
class Lines:
    """The lines of a text, compared with those of another."""

    count: int
    distinct: float
    """Share of the lines that differ from all lines before them."""
    copied: float
    """Share of the lines that are whole lines of the other text."""
    long_copied: float
    """The same share, of the lines of ``LONG`` characters and more."""
    mean_length: float
    quantiles: tuple[int, int, int]
    """The lengths that 10 %, 50 % and 90 % of the lines do not exceed."""
    distance: float
    """Largest difference between the cumulative distributions of both texts' lengths (Kolmogorov and Smirnov)."""
    lengths: tuple[int, ...]
    """Lines of each length, from 0 to the longest; longer ones than ``LONGEST`` count as that long."""


def lines_of(texts: Iterable[tuple[str, bool]]) -> list[str]:
    """Returns the lines of ``texts``, except the last one of a text that is cut off, which its second item says."""
    found: list[str] = []
    for text, is_cut in texts:
        lines = text.split("\n")
        found += lines[:-1] if is_cut else lines
    return [line for line in found if line]


def read_source(source: Iterable[Codes], wanted: Iterable[str]) -> Source:
    """Reads the lines of ``source`` once, and looks for those that are ``wanted``."""
    looked_for, found = set(wanted), Source()
    rest = np.empty(0, np.uint32)
    for piece in source:
        rest = _read(np.concatenate([rest, piece]), looked_for, found)
    _read(np.append(rest, np.uint32(END)), looked_for, found)
    return found


def compared(lines: Sequence[str], source: Source) -> Lines:
    """Compares ``lines`` with those of ``source``, which was asked for them."""
    lengths = np.array([len(line) for line in lines], np.int64)
    copies = np.array([line in source.known for line in lines], np.bool_)
    long = lengths >= LONG
    counts = np.bincount(np.minimum(lengths, LONGEST), minlength=LONGEST + 1)
    quantiles = np.quantile(lengths, (0.1, 0.5, 0.9), method="inverted_cdf") if len(lines) else (0, 0, 0)
    least, middle, most = map(int, quantiles)
    return Lines(
        count=len(lines),
        distinct=len(set(lines)) / max(1, len(lines)),
        copied=_mean(copies),
        long_copied=_mean(copies[long]),
        mean_length=_mean(lengths),
        quantiles=(least, middle, most),
        distance=float(np.abs(_cumulative(counts) - _cumulative(source.lengths)).max()),
        lengths=tuple(np.trim_zeros(counts, "b").tolist()),
    )


def _read(codes: Codes, looked_for: set[str], found: Source) -> Codes:
    """Reads all lines of ``codes`` that end there, and returns the beginning of the next one."""
    ends = np.flatnonzero((codes == _LINE_END) | (codes == END))
    if not len(ends):
        return codes
    lengths = np.diff(ends, prepend=-1) - 1
    found.lengths += np.bincount(np.minimum(lengths[lengths > 0], LONGEST), minlength=LONGEST + 1)
    text = text_of(codes[: ends[-1]]).replace(chr(END), "\n")
    found.known.update(looked_for.intersection(text.split("\n")))
    return codes[ends[-1] + 1 :]


def _mean(values: NDArray[np.int64] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _cumulative(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.cumsum(counts) / max(1, int(counts.sum()))
