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

_FIRST_SYLLABLE, _SYLLABLES = 0xAC00, 11_172
_FIRST_INITIAL, _FIRST_VOWEL, _BEFORE_FINALS = 0x1100, 0x1161, 0x11A7
_VOWELS, _FINALS = 21, 28
_FIRST, _LAST = 0xC0, 0x2FA20  # all code points that compose, decompose or combine lie between


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
    return code_point >= "\u0300" and bool(joining(code_points(code_point))[0])


def joining(codes: Codes) -> NDArray[np.bool_]:
    """Which of ``codes`` NFC may join to the code points before them, or sort among them; see ``joins``."""
    return _facts().joining[np.minimum(codes, _LAST)]


def longest_marks(text: str) -> int:
    """Returns the length of the longest run of combining marks in ``text``."""
    if text.isascii():
        return 0
    return _longest_run(_facts().classes[np.minimum(code_points(text), _LAST)] > 0)


@cache
def second_halves() -> frozenset[str]:
    """The code points that are the second half of a canonical composite, including Hangul's jamo."""
    halves = set(map(chr, (*VOWEL_JAMO, *FINAL_JAMO)))
    halves.update(chr(int(parts[1], 16)) for parts in _canonical().values() if len(parts) == 2)
    return frozenset(halves)


def code_points(text: str) -> Codes:
    """Returns the code points of ``text``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def text_of(codes: Codes) -> str:
    """Returns the text of ``codes``."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def decomposed(codes: Codes) -> tuple[Codes, NDArray[np.int64]]:
    """Returns the canonical decomposition of each of ``codes``, one after another, and how long each is, [codes].

    Each is decomposed by itself, so marks of two neighbours are not sorted into one order.
    """
    facts = _facts()
    rows = facts.rows[np.minimum(codes, _LAST)]
    syllables = codes - np.uint32(_FIRST_SYLLABLE)  # wraps around below the first one
    hangul = syllables < _SYLLABLES
    finals = syllables % _FINALS
    lengths = np.where(hangul, 2 + (finals > 0), facts.lengths[rows])
    parts = np.empty((len(codes), facts.parts.shape[1]), np.uint32)
    parts[:] = facts.parts[rows]
    parts[rows == 0, 0] = codes[rows == 0]
    syllables, finals = syllables[hangul], finals[hangul]
    parts[hangul, 0] = _FIRST_INITIAL + syllables // (_VOWELS * _FINALS)
    parts[hangul, 1] = _FIRST_VOWEL + syllables // _FINALS % _VOWELS
    parts[hangul, 2] = _BEFORE_FINALS + finals
    return parts[np.arange(parts.shape[1]) < lengths[:, None]], lengths


class _Facts(NamedTuple):
    """Properties of each code point up to ``_LAST``, which stands for all beyond."""

    classes: NDArray[np.uint8]
    """The canonical combining class of the first code point of its decomposition: 0 unless that is a mark."""
    joining: NDArray[np.bool_]
    """Whether NFC may join it to the code points before it, or sort it among them."""
    rows: NDArray[np.int16]
    """Its row of ``parts`` and ``lengths``; 0 if it doesn't decompose or is a Hangul syllable."""
    parts: Codes
    """Canonical decompositions, [rows, longest]."""
    lengths: NDArray[np.int64]
    """Their lengths, [rows]; 1 for row 0."""


@cache
def _facts() -> _Facts:
    classes = np.array([unicodedata.combining(chr(code)) for code in range(_LAST + 1)], np.uint8)
    full = [unicodedata.normalize("NFD", one) for one in _canonical()]
    rows = np.zeros(_LAST + 1, np.int16)
    lengths = np.array([1, *map(len, full)], np.int64)
    parts = np.zeros((len(lengths), max(3, int(lengths.max()))), np.uint32)
    for row, (composite, decomposition) in enumerate(zip(_canonical(), full, strict=True), start=1):
        rows[ord(composite)] = row
        parts[row, : len(decomposition)] = code_points(decomposition)
        classes[ord(composite)] = unicodedata.combining(decomposition[0])
    joining = classes > 0
    joining[code_points("".join(second_halves()))] = True
    for composite, decomposition in zip(_canonical(), full, strict=True):
        joining[ord(composite)] |= decomposition[0] in second_halves()
    return _Facts(classes, joining, rows, parts, lengths)


@cache
def _canonical() -> dict[str, list[str]]:
    """Every code point that has a canonical decomposition, except Hangul's syllables, with its parts in hexadecimal."""
    found = ((chr(code), unicodedata.decomposition(chr(code))) for code in range(_FIRST, _LAST))
    return {character: parts.split() for character, parts in found if parts and not parts.startswith("<")}


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
