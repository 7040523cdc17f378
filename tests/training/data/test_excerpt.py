"""The beginning of a part of a dataset: as long as asked for, however its characters are spelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextchar_model.alphabet import Alphabet, Kind, Spelling, UnknownCharacterError
from nextchar_training.data import split as split_module
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.split import Split
from nextchar_training.run.held_out import first_characters, load_held_out, save_held_out

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")

TAIL = "값있닭넋뷁곬읽 x\u0301é " * 125
TEXT = "abcde fgh\n" * 1350 + TAIL  # the last tenth, which is held out, takes more ids per character


def prepared(tmp_path: Path, text: str = TEXT, **rules: Any) -> Dataset:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    return prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(**rules), tmp_path / "cache")


def plain(documents: Sequence[Spelling]) -> list[tuple[str, list[int], list[int]]]:
    return [(one.text, one.ids.tolist(), one.lengths.tolist()) for one in documents]


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_as_many_whole_characters_as_asked_for(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind)
    for characters in (1, 2, 1000, 1400, 1499):
        excerpt = dataset.excerpt(dataset.held_out, dataset.alphabet, characters)
        expected = dataset.alphabet.spell(TAIL[:characters])
        assert plain(excerpt.documents) == plain([expected])
        assert not excerpt.is_whole


@pytest.mark.parametrize("documents", ["corpus", "line"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_whole_if_it_has_all_characters(tmp_path: Path, kind: Kind, documents: str) -> None:
    dataset = prepared(tmp_path, TEXT.replace("뷁", "뷁\n"), alphabet=kind, documents=documents, hold_out="tail")
    whole = dataset.documents(dataset.held_out, dataset.alphabet)
    characters = sum(len(document.text) for document in whole)
    for more in (-1, 0, 1, 10**6):
        excerpt = dataset.excerpt(dataset.held_out, dataset.alphabet, characters + more)
        assert excerpt.is_whole == (more >= 0)
        assert plain(excerpt.documents) == plain(first_characters(whole, characters + more))


@pytest.mark.parametrize("kind", KINDS)
def test_documents_end_with_the_boundary_wherever_the_excerpt_ends(tmp_path: Path, kind: Kind) -> None:
    lines = [*("a" * 9 for _ in range(200)), *("값이다" * n for n in range(1, 21))]
    dataset = prepared(tmp_path, "\n".join(lines), alphabet=kind, documents="line", hold_out="tail")
    whole = dataset.documents(dataset.held_out, dataset.alphabet)
    for characters in range(1, sum(len(document.text) for document in whole) + 2):
        excerpt = dataset.excerpt(dataset.held_out, dataset.alphabet, characters)
        assert plain(excerpt.documents) == plain(first_characters(whole, characters))


def test_characters_that_are_left_out_do_not_count(tmp_path: Path) -> None:
    text = ("한글" * 500 + "abc") * 40
    dataset, alphabet = prepared(tmp_path, text), Alphabet.of("abc")
    excerpt = dataset.excerpt(dataset.ids, alphabet, 100, "skip")
    assert [document.text for document in excerpt.documents] == [("abc" * 40)[:100]]
    assert not excerpt.is_whole
    assert dataset.excerpt(dataset.ids, alphabet, 120, "skip").is_whole


def test_only_its_own_characters_have_to_be_known(tmp_path: Path) -> None:
    dataset, alphabet = prepared(tmp_path, "a" * 110 + "é" + "a" * 1000), Alphabet.of("a")
    (document,) = dataset.excerpt(dataset.ids, alphabet, 110).documents
    assert document.text == "a" * 110
    with pytest.raises(UnknownCharacterError, match="é"):
        dataset.excerpt(dataset.ids, alphabet, 111)


@pytest.mark.parametrize(("characters", "is_whole"), [(1000, False), (1500, True)])
def test_a_training_evaluates_on_and_keeps_the_characters_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, is_whole: bool
) -> None:
    monkeypatch.setattr(split_module, "EVALUATED_CHARACTERS", characters)
    split = Split.of(prepared(tmp_path, alphabet="bytes"))
    assert split.validates_all is is_whole
    save_held_out(split.validation, tmp_path / "held_out.npz")
    (document,) = load_held_out(tmp_path / "held_out.npz")
    assert document.text == TAIL[:characters]
    assert np.array_equal(np.cumsum(document.lengths)[-1:], [len(document.ids)])
