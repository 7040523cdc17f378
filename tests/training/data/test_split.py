"""The view that a training has of its text. Needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nextchar_model.alphabet import Kind
from nextchar_training.data import split as split_module
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import DatasetError, Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.split import Split

TEXT = "가나 다라\n" * 100


def dataset_of(tmp_path: Path, text: str = TEXT, **rules: Any) -> Dataset:
    (tmp_path / "text.txt").write_text(text)
    return prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(**rules), tmp_path / "cache")


def test_it_holds_out_the_first_evaluated_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "EVALUATED_CHARACTERS", 7)
    (document,) = Split.of(dataset_of(tmp_path)).validation
    assert document.text == TEXT[540:547]


def test_it_trains_on_the_rest(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    training = Split.of(dataset).training
    assert training[: len(training)].tolist() == dataset.alphabet.encode(TEXT[:540]).tolist()


def test_lines_that_are_documents_have_no_line_end(tmp_path: Path) -> None:
    lines = dataset_of(tmp_path)
    assert Split.of(lines).line_end == lines.alphabet.encode("\n")[0]
    assert Split.of(dataset_of(tmp_path, documents="line")).line_end is None


@pytest.mark.parametrize(
    ("kind", "per_id", "continuing"), [("characters", 1, False), ("jamo", 6 / 10, True), ("bytes", 6 / 14, True)]
)
def test_characters_of_several_ids_are_counted(tmp_path: Path, kind: Kind, per_id: float, continuing: bool) -> None:
    split = Split.of(dataset_of(tmp_path, alphabet=kind))
    assert split.characters_per_id == pytest.approx(per_id)
    assert (split.continuing is not None) == continuing


def test_a_single_document_of_many_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing is held out"):
        Split.of(dataset_of(tmp_path, "one line", documents="line"))


def test_only_batches_import_torch() -> None:
    folder = Path(split_module.__file__).parent
    modules = [f"nextchar_training.data.{file.stem}" for file in folder.glob("*.py") if file.stem != "batches"]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
