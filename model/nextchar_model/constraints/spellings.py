"""The spellings of an alphabet: the characters of which a constrained text can consist, and the ids of each.

Constrained texts are in NFC, like all text here. Characters that NFC may join to the ones before them (combining marks)
depend on their neighbours, so a character has a ``Joining``, which the automaton heeds. Bytes spell every character;
there, only those marks can occur which an expression names in a set of few characters, because an automaton that told
all of them apart would be far too large.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..alphabet import Alphabet
from ..composition import FINAL_JAMO, VOWEL_JAMO, joins, second_halves
from .charset import LAST, Ranges, complement, contains, union

MOST_NAMED = 1024
"""Most characters of a set whose combining marks a model of bytes may write."""

INITIAL_JAMO = range(0x1100, 0x1113)
_SYLLABLES = range(0xAC00, 0xD7A4)
_SURROGATES = (0xD800, 0xDFFF)
_LAST_COMPOSED = 0x2FA20  # all code points that compose, decompose or combine lie below


@dataclass(frozen=True)
class Joining:
    """How a character may join the ones before it."""

    first: int = 0
    """Canonical combining class of the first code point of its decomposition."""
    last: int = 0
    """Of the last one."""
    is_second: bool = False
    """Whether it is the second half of a composite."""
    is_first: bool = False
    """Whether a later mark may compose with it."""

    @property
    def joins(self) -> bool:
        """Whether NFC may join it to the characters before it, or sort it among them."""
        return self.is_second or self.first > 0


ALONE = Joining()


@dataclass(frozen=True, eq=False)
class Spellings:
    """The characters that an alphabet can spell in a constrained text."""

    alphabet: Alphabet
    ranges: tuple[tuple[int, int, Joining], ...]
    """First and last code point of each range, in order, and how its characters join."""
    paths: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The ids of each character; empty for bytes, whose spelling is arithmetic."""

    @property
    def set(self) -> Ranges:
        """All characters."""
        return union((low, high) for low, high, _ in self.ranges)


@cache
def spellings(alphabet: Alphabet) -> Spellings:
    """Returns the spellings of ``alphabet``."""
    if alphabet.kind == "bytes":
        return Spellings(alphabet, tuple((low, high, ALONE) for low, high in complement(_left_out())))
    codes = _codes(alphabet)
    paths = {code: tuple(ids) for code in codes if (ids := alphabet.spelled(chr(code))) is not None}
    has_marks = any(_joining(code).joins for code in paths)
    ranges: list[tuple[int, int, Joining]] = []
    for code in sorted(paths):
        joining_ = _joining(code) if has_marks else ALONE
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == joining_:
            ranges[-1] = (ranges[-1][0], code, joining_)
        else:
            ranges.append((code, code, joining_))
    return Spellings(alphabet, tuple(ranges), paths)


def with_marks(universe: Spellings, sets: list[Ranges]) -> Spellings:
    """Returns ``universe``, of an alphabet of bytes, with the combining marks in the small ones of ``sets``."""
    small = (one for one in sets if sum(high - low + 1 for low, high in one) <= MOST_NAMED)
    named = union(chain.from_iterable(small))
    joinings = _joinings()
    marks = {code for code, one in joinings.items() if one.joins and contains(named, code)}
    if not marks:
        return universe
    compose = any(joinings[code].is_second for code in marks)
    ranges: list[tuple[int, int, Joining]] = []
    for code, one in sorted(joinings.items()):
        joining = replace(one, is_first=one.is_first and compose)
        if joining == ALONE or (one.joins and code not in marks):
            continue
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == joining:
            ranges[-1] = (ranges[-1][0], code, joining)
        else:
            ranges.append((code, code, joining))
    others = complement(union([*((low, high) for low, high, _ in ranges), *_left_out()]))
    ranges += ((low, high, ALONE) for low, high in others)
    return Spellings(universe.alphabet, tuple(sorted(ranges, key=lambda one: one[:2])))


@cache
def _left_out() -> Ranges:
    """Code points that never stand in NFC, or only behind some others."""
    joining = ((code, code) for code in range(0x300, _LAST_COMPOSED) if joins(chr(code)))
    return union([*joining, *_unnormalized(), _SURROGATES])


def read_joinings() -> None:
    """Finds how the characters of Unicode join, which is then known."""
    _joinings()
    _left_out()


@cache
def _joinings() -> dict[int, Joining]:
    """How each character of NFC joins that joins another, or that another may join."""
    marks = (code for code in range(0x300, _LAST_COMPOSED) if joins(chr(code)))
    codes = {*marks, *_composites(), *map(ord, _first_halves()), *_SYLLABLES}
    return {code: _joining(code) for code in codes if unicodedata.is_normalized("NFC", chr(code))}


def _codes(alphabet: Alphabet) -> list[int]:
    """Returns the code points of characters that ``alphabet`` may spell."""
    symbols = set(map(ord, alphabet.symbols))
    if alphabet.kind == "characters":
        return sorted(symbols)
    vowels, finals = symbols.intersection(VOWEL_JAMO), symbols.intersection(FINAL_JAMO)
    lone = {code for code in symbols if unicodedata.is_normalized("NFC", chr(code))}
    if vowels:  # a jamo by itself is broken text
        lone -= {*INITIAL_JAMO, *vowels, *finals}
    syllables = (
        _SYLLABLES[(initial * len(VOWEL_JAMO) + vowel) * 28 + final]
        for initial, jamo in enumerate(INITIAL_JAMO)
        if jamo in symbols
        for vowel in (one - VOWEL_JAMO[0] for one in vowels)
        for final in (0, *(one - FINAL_JAMO[0] + 1 for one in finals))
    )
    return sorted({*lone, *syllables, *(code for code in _composites() if alphabet.knows(chr(code)))})


@cache
def _composites() -> tuple[int, ...]:
    """Code points that decompose and occur in NFC, without the Hangul syllables."""
    return tuple(
        code
        for code in range(0xA0, _LAST_COMPOSED)
        if code not in _SYLLABLES
        and not unicodedata.is_normalized("NFD", chr(code))
        and unicodedata.is_normalized("NFC", chr(code))
    )


@cache
def _unnormalized() -> Ranges:
    """Code points that never occur in NFC."""
    return union(
        (code, code) for code in range(0xA0, _LAST_COMPOSED) if not unicodedata.is_normalized("NFC", chr(code))
    )


@cache
def _first_halves() -> frozenset[str]:
    """The code points that begin a composite."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in _composites())
    return frozenset({*map(chr, INITIAL_JAMO), *(chr(int(pair[0], 16)) for pair in pairs if len(pair) == 2)})


def _joining(code: int) -> Joining:
    character = chr(code)
    parts = unicodedata.normalize("NFD", character)
    return Joining(
        unicodedata.combining(parts[0]),
        unicodedata.combining(parts[-1]),
        not second_halves().isdisjoint((character, parts[0])),
        not _first_halves().isdisjoint((character, parts[0])),
    )


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of characters that no set of an expression tells apart."""

    low: NDArray[np.int64]
    """First code point of each range of characters of one class, ascending."""
    high: NDArray[np.int64]
    """Last code point of each range."""
    number: NDArray[np.int64]
    """Class of each range."""
    members: list[list[int]]
    """Of each set: the classes in it."""
    joining: list[Joining]
    """Of each class: how its characters join."""

    def __len__(self) -> int:
        return len(self.joining)


def classes(sets: list[Ranges], universe: Spellings) -> Classes:
    """Returns the classes of the characters of ``universe`` that the union of ``sets`` contains."""
    ranges = universe.ranges
    labels = sorted({joining for _, _, joining in ranges}, key=repr)
    own = np.array([(low, high, labels.index(joining)) for low, high, joining in ranges], np.int64).reshape(-1, 3)
    bounds = [np.array(one, np.int64).reshape(-1, 2) + np.array([0, 1]) for one in sets]
    cuts = np.unique(np.concatenate([own[:, 0], own[:, 1] + 1, *(one.ravel() for one in bounds)]))
    place = np.searchsorted(own[:, 0], cuts, side="right") - 1
    is_own = (place >= 0) & (cuts <= own[np.maximum(place, 0), 1]) if len(own) else np.zeros(len(cuts), np.bool_)
    low, place = cuts[is_own], place[is_own]
    high = np.append(cuts[1:], LAST + 1)[is_own] - 1
    inside = np.zeros((len(sets), len(low)), np.bool_)
    for row, one in enumerate(bounds):
        inside[row] = np.searchsorted(one.ravel(), low, side="right") % 2 == 1
    used = inside.any(axis=0) if len(sets) else np.zeros(len(low), np.bool_)
    low, high, label, inside = low[used], high[used], own[place[used], 2] if len(own) else place[used], inside[:, used]
    packed = np.concatenate(
        [label[:, None].astype("<u4").view(np.uint8).reshape(-1, 4), np.packbits(inside, axis=0).T], 1
    )
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    number = number.ravel()
    members = [np.flatnonzero(inside[row, first]).tolist() for row in range(len(sets))]
    return Classes(low, high, number, members, [labels[int(label[one])] for one in first])
