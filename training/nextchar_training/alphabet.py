"""The alphabet: where text becomes ids, and ids become text.

First stage of the flow. Training, the model file and the server all use this one class, so a text has
the same ids everywhere. Id 0 is the document boundary, which is no character; ids from 1 on are the
symbols in the order of their code points.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BOUNDARY = 0
"""The id that starts every document, and with which the model ends one."""

Ids = NDArray[np.int64]
"""Ids of a text, of shape [characters]."""

Unknown = Literal["error", "skip", "replace"]
"""What happens to characters that the alphabet lacks."""


class AlphabetError(ValueError):
    """A list of symbols is no alphabet."""


class UnknownCharacterError(ValueError):
    """A text holds a character that the alphabet lacks.

    ``character`` is the first such character, ``offset`` its place in NFC characters.
    """

    def __init__(self, character: str, offset: int) -> None:
        self.character = character
        self.offset = offset
        super().__init__(
            f"character {character!r} (U+{ord(character):04X}) at offset {offset} is not in the model's alphabet"
        )


@dataclass(frozen=True)
class Alphabet:
    """The symbols of a model, for texts in Unicode normalization form C (UAX #15).

    ``symbols[n]`` is the symbol of id ``n + 1``: single code points in ascending order.
    """

    symbols: tuple[str, ...]
    kind: Literal["characters"] = "characters"

    def __post_init__(self) -> None:
        if self.kind != "characters":
            raise AlphabetError(f"alphabet kind {self.kind!r} is not known; this version knows 'characters'")
        for symbol in self.symbols:
            if not isinstance(symbol, str) or len(symbol) != 1:
                raise AlphabetError(f"symbol {symbol!r} is not one code point")
        if not self.symbols:
            raise AlphabetError("an alphabet needs at least one symbol")
        if list(self.symbols) != sorted(set(self.symbols)):
            raise AlphabetError("the symbols are not in ascending order, each once")

    @classmethod
    def of(cls, text: str) -> Alphabet:
        """The alphabet of all characters in ``text``."""
        return cls(tuple(sorted(set(normalize(text)))))

    @property
    def size(self) -> int:
        """Number of ids V: the symbols and the boundary."""
        return len(self.symbols) + 1

    def encode(self, text: str, *, unknown: Unknown = "error", replacement: str = "") -> Ids:
        """The ids of ``text`` after NFC, of shape [characters].

        ``unknown`` says what happens to a character that the alphabet lacks: ``"error"`` raises
        ``UnknownCharacterError``, ``"skip"`` leaves it out, ``"replace"`` puts ``replacement``, a
        character of the alphabet, in its place.
        """
        text = normalize(text)
        codes = _codes(text)
        known = _codes("".join(self.symbols))
        places: NDArray[np.int64] = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        ids = places.astype(np.int64) + 1
        missing: NDArray[np.bool_] = known[places] != codes
        if not missing.any():
            return ids
        if unknown == "skip":
            return ids[~missing]
        if unknown == "replace":
            ids[missing] = self.encode(replacement)[0]
            return ids
        offset = int(np.argmax(missing))
        raise UnknownCharacterError(text[offset], offset)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; a boundary is no text."""
        return "".join(self.symbols[i - 1] for i in ids if i != BOUNDARY)

    def symbol(self, id: int) -> str:  # noqa: A002 - an id is what the field calls it
        """The text of one id; empty for the boundary."""
        return "" if id == BOUNDARY else self.symbols[id - 1]


def normalize(text: str) -> str:
    """``text`` in Unicode normalization form C, the form in which nextchar counts characters."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
