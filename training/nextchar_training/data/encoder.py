"""The encoder: spells a whole corpus by table look-up.

It takes the ids of each character from ``Alphabet.spelled``, as ``Alphabet.spell`` does, so the two always agree. There
are two because neither can do the other's work. The table has a row per code point of Unicode, which takes 15 to 100 ms
and 1 to 7 MB per alphabet: too much for a prompt. Without it, a corpus takes 2 to 17 times as long (English: 16 instead
of 260 million characters per second).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids

from .rules import Rules

CODE_POINTS = 0x110000  # of Unicode

LINE_END = ord("\n")


class Encoder:
    """Encodes the pieces of a corpus. Rare characters are dropped or replaced, as the rules say.

    If lines are documents, the newline becomes the boundary.
    """

    def __init__(self, kept: str, rare: NDArray[np.int64], rules: Rules) -> None:
        """Makes the alphabet of the characters in ``kept``, none of which is joined to its neighbour.

        ``rare`` has the code points of the rare characters.
        """
        symbols = {symbol for character in kept for symbol in Alphabet.of(character, rules.alphabet).symbols}
        self.alphabet = Alphabet(tuple(sorted(symbols)), rules.alphabet)
        self._filler = self.alphabet.size  # no id
        self.type = np.min_scalar_type(self._filler)
        """The smallest integer type that holds all ids."""
        spelled = {character: self.alphabet.spelled(character) or [] for character in kept}
        # A row has the ids of one code point, then fillers; (code points, longest spelling).
        self._table = np.full((CODE_POINTS, max(map(len, spelled.values()))), self._filler, dtype=self.type)
        for character, ids in spelled.items():
            self._table[ord(character), : len(ids)] = ids
        if rules.rare == "replace" and len(rare):
            self._table[rare] = self._table[ord(rules.replacement)]
        if rules.documents == "line":
            self._table[LINE_END, 0] = BOUNDARY

    def encode(self, text: str) -> tuple[NDArray[Any], Ids | None]:
        """The ids of ``text``, and how many of them spell each character that wasn't dropped; None if all have one."""
        codes = code_points(text)
        if self._table.shape[1] == 1:
            ids = self._table[:, 0][codes]
            return ids[ids != self._filler], None
        rows = self._table[codes]  # (characters, longest spelling)
        there = rows != self._filler
        lengths = there.sum(axis=1)
        return rows[there], lengths[lengths > 0]


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of ``text``, [characters]."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
