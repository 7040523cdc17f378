"""Unicode composition: the facts of normalization form C (NFC) that the rest of the package relies on.

Imports nothing else of nextchar. A character, in nextchar, is a code point of text in NFC (UAX #15).

Invariant: every function takes time in proportion to its text, whatever the text holds.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Kind = Literal["characters", "jamo", "bytes"]
"""The symbols that spell a character: itself, its canonical decomposition, or its UTF-8 bytes."""

Codes = NDArray[np.uint32]
"""The code points of a text, of shape [code points]."""

VOWEL_JAMO, FINAL_JAMO = range(0x1161, 0x1176), range(0x11A8, 0x11C3)
"""Code points of the Hangul vowels and final consonants that compose."""

MAX_MARKS = 30
"""Longest run of combining marks in text for people (UAX #15, Stream-Safe Text Format)."""

_LAST = 0x2FA20  # all code points that compose, decompose or combine lie below


def normalize(text: str) -> str:
    """Returns ``text`` in NFC, the form in which nextchar counts characters."""
    return text if text.isascii() else unicodedata.normalize("NFC", _sorted(text))


def decompose(text: str) -> str:
    """Returns ``text`` in Unicode normalization form D."""
    return text if text.isascii() else unicodedata.normalize("NFD", _sorted(text))


def occurs(code_point: str, kind: Kind) -> bool:
    """Whether ``code_point`` occurs in text in the normalization form that an alphabet of ``kind`` spells."""
    return kind == "bytes" or unicodedata.is_normalized("NFC" if kind == "characters" else "NFD", code_point)


def joins(code_point: str) -> bool:
    """Whether NFC may join ``code_point`` to the code points before it, or sort it among them."""
    return code_point >= "\u0300" and code_point in _facts().joiners


def joining(codes: Codes) -> NDArray[np.bool_]:
    """Which of ``codes`` NFC may join to the code points before them, or sort among them; see ``joins``."""
    return _facts().joining[np.minimum(codes, _LAST)]


def longest_marks(text: str) -> int:
    """Returns the length of the longest run of combining marks in ``text``."""
    if text.isascii():
        return 0
    return _longest_run(_facts().classes[np.minimum(code_points(text), _LAST)] > 0)


def second_halves() -> frozenset[str]:
    """The code points that are the second half of a canonical composite, including Hangul's jamo."""
    return _facts().second_halves


def code_points(text: str) -> Codes:
    """Returns the code points of ``text``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def text_of(codes: Codes) -> str:
    """Returns the text of ``codes``."""
    return codes.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")


def decomposed(codes: Codes) -> tuple[Codes, NDArray[np.int64]]:
    """Returns the canonical decomposition of each of ``codes``, one after another, and how long each is, [codes].

    Each is decomposed by itself, so marks of two neighbours are not sorted into one order.
    """
    facts = _facts()
    rows = facts.rows[np.minimum(codes, _LAST)]
    lengths = facts.lengths[rows]
    parts = facts.parts.take(rows, axis=0, mode="clip")  # ten times as fast as an index
    np.copyto(parts[:, 0], codes, where=rows == 0)
    return parts[np.arange(parts.shape[1]) < lengths[:, None]], lengths


class _Facts(NamedTuple):
    """Properties of each code point up to ``_LAST``, which stands for all beyond."""

    classes: NDArray[np.uint8]
    """The canonical combining class of the first code point of its decomposition: 0 unless that is a mark."""
    joining: NDArray[np.bool_]
    """Whether NFC may join it to the code points before it, or sort it among them."""
    rows: NDArray[np.int64]
    """Its place in ``parts`` and ``lengths``; 0 if it doesn't decompose."""
    parts: NDArray[np.uint32]
    """Canonical decompositions, [rows, longest]."""
    lengths: NDArray[np.int64]
    """Their lengths, [rows]; 1 for row 0."""
    second_halves: frozenset[str]
    joiners: frozenset[str]
    """The code points that are ``joining``."""


@cache
def _facts() -> _Facts:
    """Takes some 50 ms, once per process: Python has no table of these properties."""
    blocks = ("".join(map(chr, range(start, start + 256))) for start in range(0, _LAST, 256))
    composites = [
        one
        for block in blocks
        if not unicodedata.is_normalized("NFD", block)
        for one in block
        if not unicodedata.is_normalized("NFD", one)
    ]
    full = [unicodedata.normalize("NFD", one) for one in composites]
    lengths = np.array([1, *map(len, full)], np.int64)
    parts = np.zeros((len(lengths), int(lengths.max())), np.uint32)
    parts[1:][np.arange(parts.shape[1]) < lengths[1:, None]] = code_points("".join(full))
    codes = code_points("".join(composites))
    rows = np.zeros(_LAST + 1, np.int64)
    rows[codes] = np.arange(1, len(lengths))
    halves = set(map(chr, (*VOWEL_JAMO, *FINAL_JAMO)))
    pairs = (unicodedata.decomposition(one).split() for one in composites)
    halves.update(chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2)
    classes = np.array(list(map(unicodedata.combining, map(chr, range(_LAST + 1)))), np.uint8)
    classes[codes] = classes[parts[1:, 0]]
    joining = classes > 0
    joining[code_points("".join(halves))] = True
    joining[codes] |= joining[parts[1:, 0]]
    joiners = frozenset(map(chr, np.flatnonzero(joining).tolist()))
    return _Facts(classes, joining, rows, parts, lengths, frozenset(halves), joiners)


def _sorted(text: str) -> str:
    """Returns ``text``, decomposed and in canonical order if it has a long run of marks.

    ``unicodedata`` sorts each run by insertion, in quadratic time.
    """
    if len(text) <= MAX_MARKS or longest_marks(text) <= MAX_MARKS:
        return text
    codes, _ = decomposed(code_points(text))
    classes = _facts().classes[np.minimum(codes, _LAST)]
    runs = np.cumsum(classes == 0)  # each starter begins one
    return text_of(codes[np.lexsort((classes, runs))])  # a stable sort


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Returns the length of the longest run of ones in ``flags``."""
    ends = np.flatnonzero(~flags)
    return int(np.diff(ends, prepend=-1, append=len(flags)).max()) - 1
