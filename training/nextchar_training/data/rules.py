"""Rules: how a corpus becomes a dataset."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from nextchar_model.alphabet import Kind

Documents = Literal["corpus", "file", "line"]


HoldOut = Literal["tail", "documents"]


Rare = Literal["drop", "replace"]


class DatasetError(ValueError):
    """A corpus makes no dataset by these rules, or a dataset is damaged."""


@dataclass(frozen=True)
class Rules:
    """How a corpus becomes a dataset."""

    documents: Documents = "corpus"
    """What is a document: the whole corpus, a file or a line."""
    hold_out: HoldOut | None = None
    """What is held out: the last tenth, or one of every ten documents. ``None``: the last tenth of a corpus that is one
    document, and documents of one that is many."""
    alphabet: Kind = "characters"
    """Of which kind the alphabet is."""
    minimum_count: int = 1
    """A character that occurs fewer times is rare."""
    rare: Rare = "drop"
    """What happens to rare characters: they are left out, or ``replacement`` stands for them."""
    replacement: str = "\ufffd"
    skip_undecodable: bool = False
    """Whether files that are not UTF-8 are left out."""

    def __post_init__(self) -> None:
        if self.minimum_count < 1:
            raise DatasetError(f"minimum_count is {self.minimum_count}; it must be at least 1")
        if len(self.replacement) != 1 or unicodedata.normalize("NFC", self.replacement) != self.replacement:
            raise DatasetError(f"replacement is {self.replacement!r}, not one character")
        if self.documents == "line" and self.rare == "replace" and self.replacement == "\n":
            raise DatasetError("replacement is a newline, which ends a line")
        if self.documents == "corpus" and self.hold_out == "documents":
            raise DatasetError("a corpus that is one document has none to hold out: give --documents file or line")

    @property
    def held_out(self) -> HoldOut:
        """What is held out, whether it was said or not."""
        return self.hold_out or ("tail" if self.documents == "corpus" else "documents")
