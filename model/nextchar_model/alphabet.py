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

from .composition import Kind as Kind
from .composition import decompose, normalize

BOUNDARY = 0
"""The id that starts every document, and that the model samples to end one."""

Ids = NDArray[np.int64]
"""Ids of a text, of shape [symbols]."""

Unknown = Literal["error", "skip", "replace"]
"""How to treat characters that the alphabet can't spell."""

_BYTES = tuple(map(chr, range(256)))
_NONE = -1  # pads each character's ids to the length of the longest


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


@dataclass(frozen=True)
class Spelling:
    """A text in NFC and its ids. ``lengths`` [characters] holds the number of ids of each character.

    If the text is a whole document, a boundary follows as a last id, which ``lengths`` doesn't count.
    """

    text: str
    ids: Ids
    lengths: Ids

    def characters_in(self, ids: int) -> int:
        """Returns how many whole characters the first ``ids`` ids spell."""
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
        """Returns ``text`` in NFC with its ids.

        ``unknown`` says how to treat a character that the alphabet can't spell: ``"error"`` raises
        ``UnknownCharacterError``, ``"skip"`` leaves it out, ``"replace"`` puts ``replacement`` in its place, which the
        alphabet must be able to spell.
        """
        text = normalize(text)
        codes, places = np.unique(_codes(text), return_inverse=True)
        spelled = [self.spelled(chr(code)) for code in codes.tolist()]
        known = np.array([ids is not None for ids in spelled], dtype=bool)
        if not known.all():
            missing = ~known[places]
            if unknown == "error":
                offset = int(np.argmax(missing))
                raise UnknownCharacterError(text[offset], offset)
            filler = replacement if unknown == "replace" else ""
            if filler:
                self.spell(filler)  # raises if the alphabet can't spell it
            # Characters that are neighbours now may compose, so the whole text is spelled again.
            kept = (filler if gone else character for character, gone in zip(text, missing.tolist(), strict=True))
            return self.spell("".join(kept), unknown=unknown, replacement=replacement)
        longest = max(map(len, filter(None, spelled)), default=0)
        table = np.full((len(spelled), longest), _NONE, np.int64)
        for row, ids in zip(table, spelled, strict=True):
            assert ids is not None
            row[: len(ids)] = ids
        rows = table[places]  # (characters, longest)
        return Spelling(text, rows[rows != _NONE], (table != _NONE).sum(axis=1)[places])

    def spelled(self, character: str) -> list[int] | None:
        """Returns the ids of one NFC character, or None if the alphabet can't spell it."""
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
    def _ids(self) -> dict[str, int]:
        return {symbol: n for n, symbol in enumerate(self.symbols, start=1)}


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
