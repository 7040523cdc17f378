"""The development part: a tenth of the text that isn't held out, which takes the held-out part's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nextchar_model.alphabet import Kind
from nextchar_training.data import development as module
from nextchar_training.data import documents as documents_module
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.ids import IdFile
from nextchar_training.data.rules import DatasetError, HoldOut, Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.split import is_unseen

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
LINES = [f"{n}번째 줄: 값이 있다, café." for n in range(300)]
TEXT = "".join(f"{line}\n" for line in LINES)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100)
    monkeypatch.setattr(documents_module, "_GATHERED_IDS", 500)
    monkeypatch.setattr(documents_module, "_DEALT_IDS", 3000)


def prepared(tmp_path: Path, text: str = TEXT, **rules: Any) -> Dataset:
    if not (tmp_path / "text.txt").exists():  # a file of another time is another corpus
        (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    return prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(**rules), tmp_path / "cache")


def texts(dataset: Dataset, ids: IdFile) -> list[str]:
    return [document.text for document in dataset.documents(ids, dataset.alphabet)]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_last_tenth_of_the_rest_in_every_alphabet(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind, development=True)
    held_out = len(TEXT) * 9 // 10
    first = held_out * 9 // 10
    assert texts(dataset, dataset.training) == [TEXT[:first]]
    assert texts(dataset, dataset.validation) == [TEXT[first:held_out]]
    assert texts(dataset, dataset.held_out) == [TEXT[held_out:]]
    (document,) = dataset.validation_documents(10)
    assert document.text == TEXT[first : first + 10]


@pytest.mark.parametrize("documents", ["corpus", "line"])
def test_the_ids_in_the_cache_are_those_of_a_training_without_it(tmp_path: Path, documents: str) -> None:
    usual = prepared(tmp_path, documents=documents)
    dataset = prepared(tmp_path, documents=documents, development=True)
    assert (dataset.folder, dataset.made) == (usual.folder, False)
    assert dataset.held_out[:].tolist() == usual.validation[:].tolist()
    assert [*dataset.training[:], *dataset.validation[:]] == usual.training[:].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hold_out", ["tail", "documents"])
def test_lines_are_held_out_twice_in_the_same_way(tmp_path: Path, kind: Kind, hold_out: HoldOut) -> None:
    dataset = prepared(tmp_path, documents="line", hold_out=hold_out, alphabet=kind, development=True)
    training, validation, held_out = (
        texts(dataset, part) for part in (dataset.training, dataset.validation, dataset.held_out)
    )
    assert sorted([*training, *validation, *held_out]) == sorted(LINES)
    assert (len(training), len(validation), len(held_out)) == (243, 27, 30)
    if hold_out == "tail":
        assert sorted(training) == sorted(LINES[:243])
        assert sorted(held_out) == sorted(LINES[270:])
        assert training != LINES[:243]
    else:
        assert not {LINES[270], LINES[299]} <= {*held_out}


@pytest.mark.parametrize("hold_out", ["tail", "documents"])
def test_files_are_held_out_twice_in_the_same_way(tmp_path: Path, hold_out: HoldOut) -> None:
    files = [f"file {n}\n" * 3 for n in range(10, 40)]
    for n, text in enumerate(files):
        (tmp_path / f"{n:02}.txt").write_text(text)
    rules = Rules(documents="file", hold_out=hold_out, development=True)
    dataset = prepare(find_corpus([f"{tmp_path}/*.txt"]), rules, tmp_path / "cache")
    validation, held_out = texts(dataset, dataset.validation), texts(dataset, dataset.held_out)
    assert sorted([*texts(dataset, dataset.training), *validation, *held_out]) == files
    assert (len(validation), len(held_out)) == (3, 3)
    if hold_out == "tail":
        assert (sorted(validation), sorted(held_out)) == (files[24:27], files[27:])


def test_it_begins_with_a_whole_character_also_among_marks_that_do_not_compose(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "x\u0301é" * 100, alphabet="jamo", development=True)
    (training,), (validation,) = texts(dataset, dataset.training), texts(dataset, dataset.validation)
    assert (training + validation, len(validation)) == ("x\u0301é" * 90, 27)
    assert validation[0] in "xé"


@pytest.mark.parametrize("lines", ["one", "one\ntwo"])
def test_too_few_documents_have_none(tmp_path: Path, lines: str) -> None:
    dataset = prepared(tmp_path, lines, documents="line", development=True)
    with pytest.raises(DatasetError, match=r"text\.txt: too few documents for a development part: leave out --develop"):
        _ = dataset.validation


@pytest.mark.parametrize(
    ("learned", "evaluated", "unseen"),
    [
        (Rules(), Rules(), True),
        (Rules(development=True), Rules(development=True), True),
        (Rules(development=True), Rules(), True),  # it left the held-out part alone too
        (Rules(), Rules(development=True), False),
        (Rules(development=True, documents="line"), Rules(development=True), False),
    ],
)
def test_a_training_without_it_knows_it(tmp_path: Path, learned: Rules, evaluated: Rules, unseen: bool) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    dataset = prepare(find_corpus([str(tmp_path / "text.txt")]), evaluated, tmp_path / "cache")
    assert is_unseen(dataset, learned, dataset.facts.sha256) is unseen
    assert not is_unseen(dataset, learned, "another text")
