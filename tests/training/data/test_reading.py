"""The first characters of a corpus, as its rules take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextchar_training.data import corpus as corpus_module
from nextchar_training.data.reading import Reading
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus


def head(tmp_path: Path, characters: int, *contents: str, verbatim: bool = False) -> str:
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.txt").write_bytes(content.encode())
    return Reading(find_corpus([f"{tmp_path}/*.txt"]), Rules(verbatim=verbatim)).head(characters)


def test_the_head_is_the_first_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_BYTES", 3)
    assert head(tmp_path, 5, "abcdefgh") == "abcde"
    assert head(tmp_path, 9, "abcdefgh") == "abcdefgh"


def test_line_ends_and_marks_that_are_left_out_do_not_count(tmp_path: Path) -> None:
    texts = "\ufeffa\r\nb\r\n", "\ufeffc\r\nd"
    assert head(tmp_path, 7, *texts) == "a\nb\nc\nd"
    assert head(tmp_path, 5, *texts, verbatim=True) == "\ufeffa\r\nb"
