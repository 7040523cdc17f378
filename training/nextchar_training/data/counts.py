"""The counts of a corpus: the first of the two passes that make a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus
from .encoder import CODE_POINTS, LINE_END, code_points
from .reading import Reading
from .rules import Rules

Show = Callable[[str, float], None]
"""Hears the name of the present activity and the fraction of it that is done."""


@dataclass(frozen=True)
class Counts:
    """The results of the first pass over a corpus."""

    sha256: str
    """SHA-256 of the text in UTF-8, in hexadecimal."""
    bytes: int
    """Bytes of the text in UTF-8."""
    characters: NDArray[np.int64]
    """How often each character occurs in documents, [code points]."""
    sizes: NDArray[np.int64]
    """Characters of each file, [files]."""
    lines: int
    """Lines that aren't empty, if lines are documents; else 0."""
    line_ends: int
    """Line ends that became newlines."""
    marks: int
    """Byte order marks that were left out."""


def count(corpus: Corpus, rules: Rules, show: Show) -> Counts:
    """Reads the corpus once. Raises ``CorpusError`` if a file can't be read."""
    digest, size = hashlib.sha256(), 0
    characters = np.zeros(CODE_POINTS, dtype=np.int64)
    sizes = np.zeros(len(corpus.files), dtype=np.int64)
    lines = 0
    after_end = True  # whether the piece before ended a line
    reading = Reading(corpus, rules)
    for number, raw, text in reading.pieces():
        content = raw.encode()
        digest.update(content)
        size += len(content)
        if not text or (number is None and rules.documents == "file"):
            continue  # the newline between two files belongs to no document
        codes = code_points(text)
        counts = np.bincount(codes)
        characters[: len(counts)] += counts
        if number is not None:
            sizes[number] += len(codes)
        if rules.documents == "line":
            ends = codes == LINE_END
            lines += int(np.count_nonzero(shifted(ends, after_end) & ~ends))
            after_end = bool(ends[-1])
        show("counting characters", min(size / max(corpus.size, 1), 1.0))
    if rules.documents == "line":
        characters[LINE_END] = 0  # it becomes the boundary, which is no character
    return Counts(digest.hexdigest(), size, characters, sizes, lines, reading.line_ends, reading.marks)


def shifted(ends: NDArray[np.bool_], first: bool) -> NDArray[np.bool_]:
    """``ends`` moved one place on: whether an end stands before each place. ``first`` is that of the first place."""
    return np.concatenate([[first], ends[:-1]])[: len(ends)]
