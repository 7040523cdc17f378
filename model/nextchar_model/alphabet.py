"""The alphabet: turns text into ids.

First stage of the flow. Training, the model file and the server all use this one class, so a text has
the same ids everywhere. Id 0 is the document boundary, which is not a character; ids from 1 on are the
symbols in the order of their code points. A character, in nextchar, is a code point of text in Unicode normalization
form C (NFC, UAX #15); the kind of the alphabet says how symbols spell it:

- ``characters``: a character is one symbol.
- ``jamo``: a character is spelled by its canonical decomposition, so a Hangul syllable by its two or three jamo
  (The Unicode Standard, section 3.12).
- ``bytes``: a character is spelled by its bytes in UTF-8. Every text has ids.

``decoder`` goes the other way, from ids to text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .composition import (
    FINAL_JAMO,
    VOWEL_JAMO,
    code_points,
    decompose,
    decomposed,
    joining,
    joins,
    normalize,
    occurs,
    text_of,
)
from .composition import Kind as Kind

BOUNDARY = 0
"""The id that starts every document, and that the model samples to end one."""

Ids = NDArray[np.int64]
"""Ids of a text, of shape [symbols]."""

Unknown = Literal["error", "skip", "replace"]
"""How to treat characters that the alphabet can't spell."""

_BYTES = tuple(map(chr, range(256)))
_MORE_BYTES = np.array([0x80, 0x800, 0x10000], np.uint32)  # the first code points of two, three and four bytes
_NONE = -1  # in place of the id of a code point that is no symbol


class AlphabetError(ValueError):
    """A list of symbols doesn't form an alphabet."""


class UnknownCharacterError(ValueError):
    """A text holds a character that the alphabet can't spell.

    ``character`` is the first such character, ``offset`` its position in NFC characters.
    """

    def __init__(self, character: str, offset: int) -> None:
        self.character = character
        self.offset = offset
        super().__init__(
            f"character {character!r} (U+{ord(character):04X}) at offset {offset} is not in the model's alphabet"
        )


@dataclass(frozen=True, slots=True)
class Spelling:
    """A text in NFC and its ids. ``lengths`` [characters] holds the number of ids of each character.

    If the text is a whole document, a boundary follows as a last id, which ``lengths`` doesn't count.
    """

    text: str
    ids: Ids
    lengths: Ids

    def characters_in(self, ids: int) -> int:
        """Returns how many whole characters the first ``ids`` ids spell."""
        if len(self.ids) == len(self.text):
            return min(ids, len(self.text))
        return int(np.searchsorted(np.cumsum(self.lengths), ids, side="right"))


@dataclass(frozen=True)
class Alphabet:
    """The symbols of a model.

    ``symbols[n]`` is the symbol of id ``n + 1``: single code points in ascending order. For ``bytes``, they are the
    256 code points from U+0000 on, each standing for the byte of that value.
    """

    symbols: tuple[str, ...]
    kind: Kind = "characters"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise AlphabetError(
                f"alphabet kind {self.kind!r} is unknown; this version knows {', '.join(get_args(Kind))}"
            )
        for symbol in self.symbols:
            if not isinstance(symbol, str) or len(symbol) != 1 or "\ud800" <= symbol <= "\udfff":
                raise AlphabetError(f"symbol {symbol!r} is not one code point of text")
        if not self.symbols:
            raise AlphabetError("an alphabet needs at least one symbol")
        if list(self.symbols) != sorted(set(self.symbols)):
            raise AlphabetError("the symbols must be distinct and in ascending order")
        if self.kind != "bytes" and (lost := next((one for one in self.symbols if not occurs(one, self.kind)), None)):
            raise AlphabetError(
                f"symbol {lost!r} (U+{ord(lost):04X}) never occurs in the normalized text of an alphabet of {self.kind}"
            )
        if self.kind == "bytes" and self.symbols != _BYTES:
            raise AlphabetError("the symbols of an alphabet of bytes must be the 256 values of a byte")

    @classmethod
    def of(cls, text: str, kind: Kind = "characters") -> Alphabet:
        """Returns the smallest alphabet of ``kind`` that spells every character of ``text``."""
        if kind == "bytes":
            return cls(_BYTES, kind)
        characters = set(normalize(text))
        return cls(tuple(sorted(characters if kind == "characters" else set(decompose("".join(characters))))), kind)

    @property
    def size(self) -> int:
        """Number of ids V: the symbols and the boundary."""
        return len(self.symbols) + 1

    def encode(self, text: str, *, unknown: Unknown = "error", replacement: str = "") -> Ids:
        """Returns the ids of ``text``, of shape [symbols]; see ``spell``."""
        return self.spell(text, unknown=unknown, replacement=replacement).ids

    def spell(self, text: str, *, unknown: Unknown = "error", replacement: str = "") -> Spelling:
        """Returns ``text`` in NFC with its ids, in time in proportion to its length.

        ``unknown`` says how to treat a character that the alphabet can't spell: ``"error"`` raises
        ``UnknownCharacterError``, ``"skip"`` leaves it out, ``"replace"`` puts ``replacement`` in its place, which the
        alphabet must be able to spell. Characters that are neighbours then may compose. If the alphabet can't spell
        such a composite, it is unknown too, together with the marks, vowels or final consonants that follow it.
        """
        spelling, missing = self._look_up(normalize(text))
        if not missing.any():
            return spelling
        if unknown == "error":
            offset = int(np.argmax(missing))
            raise UnknownCharacterError(spelling.text[offset], offset)
        filler = normalize(replacement) if unknown == "replace" else ""
        if filler:
            self.spell(filler)  # raises if the alphabet can't spell it
        return self.spell_rest(normalize(_replaced(spelling.text, missing, missing, filler)), filler)

    def filled(self, text: str, filler: str) -> str:
        """Returns ``text``, which is in NFC, with ``filler`` in place of each character that the alphabet can't spell.

        The first of the two steps in which ``spell`` treats unknown characters. Neighbours aren't composed yet.
        """
        _, missing = self._look_up(text)
        return _replaced(text, missing, missing, filler) if missing.any() else text

    def spell_rest(self, text: str, filler: str) -> Spelling:
        """Returns ``text``, which is ``filled`` and in NFC, with its ids, without composites that are unknown.

        The second of the two steps.
        """
        spelling, missing = self._look_up(text)
        if not missing.any():
            return spelling
        # Composites may follow one another without end: each that is left out would make a neighbour of the next mark.
        # So the marks leave with it, and the text stays in NFC without another look.
        joined = joining(code_points(spelling.text))
        heads = np.maximum.accumulate(np.where(missing | ~joined, np.arange(len(missing)), 0))
        filler = "" if filler and joins(filler[0]) else filler
        spelling, missing = self._look_up(_replaced(spelling.text, missing, missing[heads], filler))
        assert not missing.any()
        return spelling

    def spelled(self, character: str) -> list[int] | None:
        """Returns the ids of one NFC character, or None if the alphabet can't spell it.

        The quick way for one character; ``spell`` is the quick way for a text.
        """
        if self.kind == "bytes":
            try:
                return [byte + 1 for byte in character.encode()]
            except UnicodeEncodeError:  # half of a surrogate pair
                return None
        symbols = character if self.kind == "characters" else decompose(character)
        ids = [self._ids.get(symbol) for symbol in symbols]
        return None if None in ids else [id_ for id_ in ids if id_ is not None]

    def knows(self, character: str) -> bool:
        """Whether the alphabet can spell ``character``."""
        return self.spelled(character) is not None

    def symbol(self, id: int) -> str:  # noqa: A002 - an id is what the field calls it
        """Returns the symbol of one id, or an empty string for the boundary."""
        return "" if id == BOUNDARY else self.symbols[id - 1]

    @cached_property
    def code_points(self) -> NDArray[np.uint32]:
        """The code point of each id's symbol, [V]. The boundary has U+FFFF, which is no character."""
        return code_points("\uffff" + "".join(self.symbols))

    @cached_property
    def composing(self) -> tuple[bool, bool, bool]:
        """Whether it has marks, vowel jamo and final jamo, which compose with the code point before them."""
        if self.kind == "bytes":
            return True, True, True
        codes = {ord(symbol) for symbol in self.symbols if joins(symbol)}
        vowels, finals = codes.intersection(VOWEL_JAMO), codes.intersection(FINAL_JAMO)
        return codes > vowels | finals, bool(vowels), bool(finals)

    def _look_up(self, text: str) -> tuple[Spelling, NDArray[np.bool_]]:
        """Returns the spelling of ``text``, which is in NFC, and which characters of it the alphabet can't spell."""
        codes = code_points(text)
        if self.kind == "bytes":
            missing = (codes >= 0xD800) & (codes < 0xE000)  # half of a surrogate pair
            lengths = 1 + np.searchsorted(_MORE_BYTES, codes, side="right")
            ids = np.frombuffer(text.encode(errors="surrogatepass"), np.uint8).astype(np.int64) + 1
            return Spelling(text, ids, lengths), missing
        parts, lengths = (codes, np.ones(len(codes), np.int64)) if self.kind == "characters" else decomposed(codes)
        ids = self._table[np.minimum(parts, len(self._table) - 1)].astype(np.int64)
        missing = np.zeros(len(codes), np.bool_)
        if len(ids) and ids.min() == _NONE:
            missing = np.logical_or.reduceat(ids == _NONE, np.cumsum(lengths) - lengths)
        return Spelling(text, ids, lengths), missing

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: n for n, symbol in enumerate(self.symbols, start=1)}

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The id of each code point up to the last symbol and one more, which stands for all beyond."""
        codes = self.code_points[1:]
        table = np.full(int(codes[-1]) + 2, _NONE, np.int32)
        table[codes] = np.arange(1, len(codes) + 1)
        return table


def _replaced(text: str, missing: NDArray[np.bool_], gone: NDArray[np.bool_], filler: str) -> str:
    """Returns ``text`` without the characters that are ``gone``, with ``filler`` in place of each ``missing`` one."""
    lengths = np.where(missing, len(filler), ~gone)
    codes = np.repeat(code_points(text), lengths)
    codes[np.repeat(missing, lengths)] = np.tile(code_points(filler), int(missing.sum()))
    return text_of(codes)
