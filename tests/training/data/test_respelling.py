"""A dataset in the alphabet of a model that learned from another text."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.respelling import respelled
from nextchar_training.data.rules import DatasetError, Rules
from nextchar_training.data.sources import find_corpus

TEXT = "bead\n" * 20


def dataset_of(folder: Path) -> Dataset:
    (folder / "text.txt").write_text(TEXT)
    return prepare(find_corpus([str(folder / "text.txt")]), Rules(documents="line"), folder / "cache")


def test_all_parts_of_a_dataset_have_the_ids_of_the_other_alphabet(tmp_path: Path) -> None:
    alphabet = Alphabet.of("abcdefgh")
    dataset = respelled(dataset_of(tmp_path), alphabet)
    line = [*alphabet.encode("bead").tolist(), 0]
    assert dataset.alphabet == alphabet
    assert dataset.training[:10].tolist() == line * 2
    assert [document.ids.tolist() for document in dataset.validation_documents(100)] == [line] * 2


def test_symbols_that_the_other_alphabet_lacks_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"text\.txt: the model's alphabet lacks 'd' \(U\+0064\), 'e' \(U\+0065\)"):
        respelled(dataset_of(tmp_path), Alphabet.of("abc"))


def test_alphabet_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the model's alphabet is of the kind bytes, the dataset's characters"):
        respelled(dataset_of(tmp_path), Alphabet.of("bead\n", "bytes"))
