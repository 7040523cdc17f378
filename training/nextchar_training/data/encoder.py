"""The encoder: the look-up table that spells a whole corpus."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids

from .rules import Rules

CODE_POINTS = 0x110000  # code points of Unicode


LINE_END = ord("\n")


class Encoder:
    """Spells a corpus by look-up: rare characters as the rules say, and the ends of lines that are documents as
    boundaries. A row of the table has the ids of one code point, and ``_none`` where it has no more.
    """

    def __init__(self, kept: str, rare: NDArray[np.int64], rules: Rules) -> None:
        """Spells the characters in ``kept``, which are not one text: none composes with its neighbour."""
        symbols = {symbol for character in kept for symbol in Alphabet.of(character, rules.alphabet).symbols}
        self.alphabet = Alphabet(tuple(sorted(symbols)), rules.alphabet)
        self._none = self.alphabet.size
        self.type = np.min_scalar_type(self._none)
        spelled = {character: self.alphabet.spelled(character) or [] for character in kept}
        self._table = np.full((CODE_POINTS, max(map(len, spelled.values()))), self._none, dtype=self.type)
        for character, ids in spelled.items():
            self._table[ord(character), : len(ids)] = ids
        if rules.rare == "replace" and len(rare):
            self._table[rare] = self._table[ord(rules.replacement)]
        if rules.documents == "line":
            self._table[LINE_END, 0] = BOUNDARY

    def spell(self, text: str) -> tuple[NDArray[Any], Ids | None]:
        """The ids of ``text``, and how many spell each character that is left; None: one."""
        codes = code_points(text)
        if self._table.shape[1] == 1:
            ids = self._table[:, 0][codes]
            return ids[ids != self._none], None
        rows = self._table[codes]
        there = rows != self._none
        lengths = there.sum(axis=1)
        return rows[there], lengths[lengths > 0]


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of ``text``, [characters]."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
