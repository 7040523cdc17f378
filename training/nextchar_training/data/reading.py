"""The reading: the pieces of a corpus, as its rules take them.

Both passes that make a dataset read the corpus here, so they agree. Unless the rules say ``verbatim``, line ends become
newlines, as when Python reads a text file, and a byte order mark at the start of a file is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .corpus import Corpus
from .rules import Rules

BYTE_ORDER_MARK = "\ufeff"


class Piece(NamedTuple):
    """A piece of a corpus."""

    number: int | None
    """The number of its file; None for the newline between two files."""
    raw: str
    """The text in the file, in normalization form C."""
    text: str
    """The text by the rules. It may be empty."""


class Reading:
    """Reads a corpus by ``rules``, and counts the characters that they change."""

    def __init__(self, corpus: Corpus, rules: Rules) -> None:
        self._corpus, self._rules = corpus, rules
        self.line_ends = 0
        """Line ends that became newlines, so far."""
        self.marks = 0
        """Byte order marks that were left out, so far."""

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[Piece]:
        """Returns the pieces, as ``Corpus.pieces`` does."""
        before: int | None = None
        ended = True  # whether the text so far ends with a newline
        for number, raw in self._corpus.pieces(order):
            if number is None:
                text = "" if ended else raw
            else:
                text = plain(raw, self._rules, begins=number != before)
                before = number
                if not self._rules.verbatim:
                    self.line_ends += raw.count("\r")
                    self.marks += raw.startswith(BYTE_ORDER_MARK) and not text.startswith(BYTE_ORDER_MARK)
            ended = text.endswith("\n") if text else ended
            yield Piece(number, raw, text)

    def head(self, characters: int) -> str:
        """The first ``characters`` of the text by the rules."""
        text = ""
        for piece in self.pieces():
            text += piece.text
            if len(text) >= characters:
                break
        return text[:characters]


def plain(text: str, rules: Rules, *, begins: bool = True) -> str:
    """Returns ``text`` by ``rules``; it doesn't end between CR and LF. ``begins`` says whether it begins a file."""
    if rules.verbatim:
        # If lines are documents, none of them ends with CR.
        return text.replace("\r\n", "\n") if rules.documents == "line" else text
    if begins:
        text = text.removeprefix(BYTE_ORDER_MARK)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
