"""The counts of a corpus: the first of the two passes that make a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

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
    """Characters of each file, [files]; see ``without_rare``."""
    lines: int
    """Lines that aren't empty, if lines are documents; else 0. See ``without_rare``."""
    line_ends: int
    """Line ends that became newlines."""
    marks: int
    """Byte order marks that were left out."""


def count(corpus: Corpus, rules: Rules, show: Show) -> Counts:
    """Reads the corpus once. Raises ``CorpusError`` if a file can't be read."""
    digest, size = hashlib.sha256(), 0
    characters = np.zeros(CODE_POINTS, dtype=np.int64)
    tally = _Tally(len(corpus.files), has_lines=rules.documents == "line")
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
        tally.add(number, codes)
        show("counting characters", min(size / max(corpus.size, 1), 1.0))
    if rules.documents == "line":
        characters[LINE_END] = 0  # it becomes the boundary, which is no character
    return Counts(digest.hexdigest(), size, characters, tally.sizes, tally.lines, reading.line_ends, reading.marks)


def without_rare(counts: Counts, corpus: Corpus, rules: Rules, rare: NDArray[np.int64], show: Show) -> Counts:
    """Returns ``counts`` with the sizes and the lines of the text that is left when ``rare`` characters are dropped.

    ``rare`` are their code points. A document that has no others vanishes, so those that are held out can be chosen
    only now. Reads the corpus again, unless it is one document or nothing is dropped. Raises ``CorpusError`` if a file
    can't be read.
    """
    if rules.documents == "corpus" or rules.rare != "drop" or not len(rare):
        return counts
    is_kept = np.ones(CODE_POINTS, dtype=np.bool_)
    is_kept[rare] = False
    tally, done = _Tally(len(corpus.files), has_lines=rules.documents == "line"), 0
    for number, _, text in Reading(corpus, rules).pieces():
        codes = code_points(text)
        tally.add(number, codes[is_kept[codes]])
        done += len(codes)
        show("counting documents", min(done / max(int(counts.sizes.sum()), 1), 1.0))
    return replace(counts, sizes=tally.sizes, lines=tally.lines)


class _Tally:
    """The sizes of the files of a text that comes in pieces, and the number of its lines if it ``has_lines``."""

    def __init__(self, files: int, *, has_lines: bool) -> None:
        self._has_lines = has_lines
        self.sizes = np.zeros(files, dtype=np.int64)
        """Characters of each file, [files]."""
        self.lines = 0
        """Lines that aren't empty."""
        self._after_end = True  # whether the piece before ended a line

    def add(self, number: int | None, codes: NDArray[Any]) -> None:
        """Counts a piece, which has these code points, of the file with this ``number``; None: between two files."""
        if not len(codes):
            return
        if number is not None:
            self.sizes[number] += len(codes)
        if not self._has_lines:
            return
        ends = codes == LINE_END
        self.lines += int(np.count_nonzero(shifted(ends, self._after_end) & ~ends))
        self._after_end = bool(ends[-1])


def shifted(ends: NDArray[np.bool_], first: bool) -> NDArray[np.bool_]:
    """``ends`` moved one place on: whether an end stands before each place. ``first`` is that of the first place."""
    return np.concatenate([[first], ends[:-1]])[: len(ends)]
