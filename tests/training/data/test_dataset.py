"""A corpus as ids on disk: its contents, their order, and the part that is held out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind, Spelling, UnknownCharacterError
from nextchar_training.data import corpus as corpus_module
from nextchar_training.data import documents as documents_module
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.ids import IdFile
from nextchar_training.data.rules import DatasetError, HoldOut, Rules
from nextchar_training.data.sources import find_corpus

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
TEXT = "".join(f"{n}번째 줄: 값이 있다, café.\n" for n in range(300))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(documents_module, "_GATHERED_IDS", 500)
    monkeypatch.setattr(documents_module, "_DEALT_IDS", 3000)


def prepared(tmp_path: Path, text: str = TEXT, **rules: Any) -> Dataset:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    return prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(**rules), tmp_path / "cache")


def texts(dataset: Dataset, ids: IdFile) -> list[str]:
    return [document.text for document in dataset.documents(ids, dataset.alphabet)]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_whole_text(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind)
    alphabet = Alphabet.of(TEXT, kind)
    assert dataset.alphabet == alphabet
    assert dataset.ids[: len(dataset.ids)].tolist() == alphabet.encode(TEXT).tolist()
    assert dataset.facts.characters == len(TEXT)
    assert dataset.characters_per_id == pytest.approx(len(TEXT) / len(alphabet.encode(TEXT)))
    assert dataset.facts.bytes == len(TEXT.encode())
    assert Counter(dict(dataset.facts.rarest)) <= Counter(TEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_last_tenth_of_the_characters_is_held_out_in_every_alphabet(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind)
    assert "".join(texts(dataset, dataset.training)) == TEXT[: len(TEXT) * 9 // 10]
    assert "".join(texts(dataset, dataset.validation)) == TEXT[len(TEXT) * 9 // 10 :]
    (first,) = dataset.documents(dataset.validation, dataset.alphabet, 100)
    assert first.text == TEXT[len(TEXT) * 9 // 10 :][:100]
    assert BOUNDARY not in first.ids.tolist()  # the corpus's end is not its document's


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hold_out", ["tail", "documents"])
def test_lines_are_documents_each_once_in_another_order(tmp_path: Path, kind: Kind, hold_out: HoldOut) -> None:
    text = TEXT.replace("\n", "\n\n", 5) + "the last one"
    dataset = prepared(tmp_path, text, documents="line", hold_out=hold_out, alphabet=kind)
    lines = [line for line in text.split("\n") if line]
    training, held_out = texts(dataset, dataset.training), texts(dataset, dataset.validation)
    assert sorted([*training, *held_out]) == sorted(lines)
    assert [*training, *held_out] != lines
    assert dataset.facts.documents == len(lines)
    assert dataset.facts.held_out_documents == len(held_out)
    assert 0.08 < len(held_out) / len(lines) < 0.12
    if hold_out == "tail":
        assert sorted(held_out) == sorted(lines[-len(held_out) :])
    assert not dataset.alphabet.knows("\n") or kind == "bytes"
    (first, *_) = dataset.documents(dataset.training, dataset.alphabet)
    assert first.ids[-1] == BOUNDARY
    assert BOUNDARY not in first.ids[:-1].tolist()
    assert int(dataset.ids[: len(dataset.ids)][-1]) == BOUNDARY


def test_lines_are_held_out_alike_in_every_alphabet(tmp_path: Path) -> None:
    held_out = [prepared(tmp_path, documents="line", alphabet=kind) for kind in KINDS]
    first, *others = [sorted(texts(dataset, dataset.validation)) for dataset in held_out]
    assert all(other == first for other in others)


def test_files_are_documents(tmp_path: Path) -> None:
    files = {f"{n}.txt": f"file {n}\n" * (n + 1) for n in range(30)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    dataset = prepare(find_corpus([f"{tmp_path}/*.txt"]), Rules(documents="file"), tmp_path / "cache")
    found = [*texts(dataset, dataset.training), *texts(dataset, dataset.validation)]
    assert sorted(found) == sorted(files.values())
    assert dataset.facts.held_out_documents == 3


def test_nothing_is_held_out_of_a_single_line(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "one line", documents="line")
    assert texts(dataset, dataset.ids) == ["one line"]
    with pytest.raises(DatasetError, match=r"text\.txt: a single document, so nothing is held out"):
        _ = dataset.validation


@pytest.mark.parametrize("kind", KINDS)
def test_characters_that_would_compose_side_by_side_stay_themselves(tmp_path: Path, kind: Kind) -> None:
    text = "a zebra x\u0301, \u1112 and \u1161\n" * 9  # z and U+0301 compose, and so do the two jamo
    dataset = prepared(tmp_path, text, alphabet=kind)
    assert texts(dataset, dataset.ids) == [text]
    assert dataset.facts.characters == len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_characters_that_compose_now_that_a_rare_one_is_gone_keep_their_ids(tmp_path: Path, kind: Kind) -> None:
    text = "ab x\u0301 e\n" * 5 + "e\u034f\u0301\n"
    dataset = prepared(tmp_path, text, alphabet=kind, minimum_count=2)
    assert texts(dataset, dataset.ids) == ["ab x\u0301 e\n" * 5 + "\u00e9\n"]
    (document,) = dataset.documents(dataset.ids, dataset.alphabet)
    assert document.ids.tolist() == dataset.ids[: len(dataset.ids)].tolist()
    assert document.lengths.sum() == len(document.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_rare_characters_are_left_out_or_replaced(tmp_path: Path, kind: Kind) -> None:
    text = "aaaa bbbb 가가가가 é 나 é\n" * 3 + "z각" + "a" * 50
    dropped = prepared(tmp_path, text, minimum_count=4, alphabet=kind)
    assert dict(dropped.facts.rare) == {"나": 3, "z": 1, "각": 1, "\n": 3}
    without = "".join(character for character in text if character not in "나z각\n")
    assert texts(dropped, dropped.ids) == [without]
    assert dropped.facts.characters == len(without)
    replaced = prepared(tmp_path, text, minimum_count=4, rare="replace", replacement="?", alphabet=kind)
    expected = "".join("?" if character in "나z각\n" else character for character in text)
    assert texts(replaced, replaced.ids) == [expected]


def test_a_corpus_of_rare_characters_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no character occurs 9 times"):
        prepared(tmp_path, "abc", minimum_count=9)


def test_documents_can_be_spelled_by_another_alphabet(tmp_path: Path) -> None:
    dataset = prepared(tmp_path)
    (document,) = dataset.documents(dataset.validation, Alphabet.of(TEXT, "jamo"))
    assert document.text == TEXT[len(TEXT) * 9 // 10 :]
    with pytest.raises(UnknownCharacterError, match="번"):
        dataset.documents(dataset.training, Alphabet.of(TEXT.replace("번", "")))


def test_a_corpus_that_is_one_document_cannot_hold_out_documents(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"the corpus is one document, .*: give --documents file or line"):
        prepared(tmp_path, hold_out="documents")


def test_a_line_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "_LONGEST_LINE", 1000)
    with pytest.raises(DatasetError, match=r"text\.txt: a line of more than 1,000 ids is too long for a document"):
        prepared(tmp_path, "a" * 3000, documents="line")


def test_lines_that_end_with_cr_lf_are_spelled_without_the_cr(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "one\r\ntwo\r\n", documents="line")
    assert sorted(texts(dataset, dataset.ids)) == ["one", "two"]


def test_held_out_documents_are_the_first_characters_that_are_held_out(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, documents="line")
    held_out = [f"{text}\n" for text in texts(dataset, dataset.validation)]
    found: list[Spelling] = dataset.validation_documents(100)
    assert sum(len(document.text) for document in found) == 100
    assert "".join(held_out).startswith("\n".join(document.text for document in found))
