"""Documents that vanish with their rare characters: the others are split as if they had never been there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nextchar_training.data import corpus as corpus_module
from nextchar_training.data import documents as documents_module
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import DatasetError, Rules
from nextchar_training.data.sources import find_corpus

USUAL = [f"{n:02} usual usual {n:02}" for n in range(90)]
RARE = [chr(0x4E00 + n) for n in range(40)]  # each once

PLACES = pytest.mark.parametrize(
    "texts",
    [
        [*RARE[:20], *USUAL],
        [*USUAL, *RARE[:20]],
        [*USUAL[:50], *RARE, *USUAL[50:]],
        [text for pair in zip(RARE, USUAL, strict=False) for text in pair],
        [*USUAL[:2], *RARE[:30], *USUAL[2:4]],
    ],
    ids=["before", "after", "between", "in turn", "few"],
)
SPLITS = pytest.mark.parametrize(
    "rules",
    [{"hold_out": "tail"}, {"hold_out": "documents"}, {"hold_out": "tail", "development": True}],
    ids=["tail", "documents", "tail and development"],
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_BYTES", 100)
    monkeypatch.setattr(documents_module, "_GATHERED_IDS", 50)


def prepared(folder: Path, texts: list[str], **rules: Any) -> Dataset:
    """The dataset of ``texts``, one in a file of its own if files are documents, else one in a line."""
    folder.mkdir(parents=True)
    if rules["documents"] == "file":
        for number, text in enumerate(texts):
            (folder / f"{number:03}.txt").write_text(text)
    else:
        (folder / "text.txt").write_text("\n".join(texts))
    return prepare(find_corpus([f"{folder}/*.txt"]), Rules(**rules), folder / "cache")


def parts(dataset: Dataset) -> list[list[str]]:
    """The texts to train on, those for development if there are any, and those that are held out."""
    found = [dataset.training, *([dataset.validation] if dataset.rules.development else []), dataset.held_out]
    return [sorted(document.text for document in dataset.documents(part, dataset.alphabet)) for part in found]


@PLACES
@SPLITS
@pytest.mark.parametrize("documents", ["line", "file"])
def test_the_split_is_that_of_the_documents_that_are_left(
    tmp_path: Path, documents: str, rules: dict[str, Any], texts: list[str]
) -> None:
    rules = {**rules, "documents": documents, "minimum_count": 2}
    found = prepared(tmp_path / "all", texts, **rules)
    expected = prepared(tmp_path / "left", [text for text in texts if text not in RARE], **rules)
    assert found.facts.rare
    assert parts(found) == parts(expected)
    assert found.facts.held_out_documents == expected.facts.held_out_documents > 0


def test_a_tenth_of_the_lines_that_are_left_is_held_out(tmp_path: Path) -> None:
    lines = [*RARE[:10], *USUAL]
    rules: dict[str, Any] = {"documents": "line", "hold_out": "tail", "minimum_count": 2}
    assert parts(prepared(tmp_path / "a", lines, **rules))[-1] == USUAL[81:]
    _, development, held_out = parts(prepared(tmp_path / "b", lines, **rules, development=True))
    assert (development, held_out) == (USUAL[72:81], USUAL[81:])


@pytest.mark.parametrize("documents", ["line", "file"])
def test_nothing_is_held_out_if_a_single_document_is_left(tmp_path: Path, documents: str) -> None:
    dataset = prepared(tmp_path / "texts", [*RARE, USUAL[0]], documents=documents, minimum_count=2)
    with pytest.raises(DatasetError, match="a single document, so nothing is held out"):
        _ = dataset.held_out


def test_characters_that_are_replaced_stay_in_their_documents(tmp_path: Path) -> None:
    rules: dict[str, Any] = {"documents": "line", "hold_out": "tail", "minimum_count": 2, "rare": "replace"}
    dataset = prepared(tmp_path / "texts", [*USUAL, *RARE[:10]], **rules)
    assert parts(dataset)[-1] == ["\ufffd"] * 10


def test_the_progress_of_the_second_count_reaches_its_end(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join([*USUAL, *RARE]))
    heard: dict[str, list[float]] = {}
    prepare(
        find_corpus([str(tmp_path / "text.txt")]),
        Rules(documents="line", minimum_count=2),
        tmp_path / "cache",
        lambda activity, fraction: heard.setdefault(activity, []).append(fraction),
    )
    assert list(heard) == ["counting characters", "counting documents", "writing ids", "shuffling lines"]
    assert all(fractions == sorted(fractions) and fractions[-1] == 1 for fractions in heard.values())
