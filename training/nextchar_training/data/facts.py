"""The facts of a dataset: counted while it is made, and kept beside its ids."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nextchar_cli.wording import explain
from nextchar_model.alphabet import Alphabet

from .rules import DatasetError

Count = tuple[str, int]
"""A character and how often it occurs."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts of one dataset. Characters are counted after NFC, and dropped ones are not counted."""

    sha256: str
    """SHA-256 of the corpus's text in UTF-8, in hexadecimal; see ``Corpus.sha256``."""
    characters: int
    """Characters of all documents."""
    bytes: int
    """Bytes of the corpus's text in UTF-8."""
    documents: int
    ids: int
    """Ids of all documents, without the boundaries between them."""
    held_out_from: int
    """The place of the first id that is held out, boundaries counted."""
    held_out_documents: int
    rarest: tuple[Count, ...]
    """The rarest characters of the alphabet, the rarest first."""
    rare: tuple[Count, ...]
    """The characters that were dropped or replaced, the most frequent first."""
    seconds: float
    """The time it took to make the dataset."""
    alphabet: Alphabet
    line_ends: int = 0
    """Line ends, CR LF or CR, that became newlines."""
    marks: int = 0
    """Files whose byte order mark was left out."""
    files_sha256: str | None = None
    """SHA-256, in hexadecimal, of the sizes of the files if each is a document: the same text may be cut elsewhere."""


_FACTS = TypeAdapter(Facts)


def to_json(facts: Facts) -> bytes:
    """``facts`` in JSON."""
    return _FACTS.dump_json(facts, indent=1)


def read_facts(path: Path) -> Facts:
    """Reads facts from a file. Raises ``DatasetError`` if they are damaged, ``OSError`` if the file can't be read."""
    try:
        return _FACTS.validate_json(path.read_bytes())
    except ValidationError as error:
        field, problem = explain(error)
        raise DatasetError(f"{path}: damaged ({' '.join([field, problem]).strip()}); remove its folder") from error
