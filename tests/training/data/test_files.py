"""Files that are documents: the same text in other files is split in another way, and a training notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from nextchar_training.data import cache as cache_module
from nextchar_training.data.cache import dataset_folder
from nextchar_training.data.corpus import CorpusError
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rereading import prepare_again
from nextchar_training.data.rules import Documents, Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.split import is_unseen

LINES = [f"the line {n} of sixty\n" for n in range(60)]


def cut(folder: Path, files: int, lines: Sequence[str] = LINES) -> str:
    """Writes the text into a number of files of equally many lines, and returns the pattern that names them."""
    folder.mkdir()
    for number in range(files):
        each = len(lines) // files
        (folder / f"{number:02}.txt").write_text("".join(lines[number * each : (number + 1) * each]))
    return f"{folder}/*.txt"


def prepared(tmp_path: Path, files: int, documents: Documents = "file") -> Dataset:
    pattern = cut(tmp_path / str(files), files)
    return prepare(find_corpus([pattern]), Rules(documents=documents), tmp_path / "cache")


def held_out(dataset: Dataset) -> set[str]:
    documents = dataset.documents(dataset.held_out, dataset.alphabet)
    return {line for document in documents for line in document.text.splitlines()}


def test_the_same_text_in_other_files_may_have_been_seen(tmp_path: Path) -> None:
    learned, other = prepared(tmp_path, 12), prepared(tmp_path, 20)
    rules, text, files = learned.rules, learned.facts.sha256, learned.facts.files_sha256
    assert text == other.facts.sha256
    assert held_out(other) - held_out(learned)
    assert is_unseen(learned, rules, text, files)
    assert not is_unseen(other, rules, text, files)
    assert not is_unseen(learned, rules, text, None)  # files of earlier releases, and model files, don't tell


@pytest.mark.parametrize("documents", ["corpus", "line"])
def test_files_that_are_no_documents_do_not_matter(tmp_path: Path, documents: Documents) -> None:
    learned, other = prepared(tmp_path, 12, documents), prepared(tmp_path, 20, documents)
    assert learned.facts.files_sha256 is None
    assert held_out(learned) == held_out(other)
    assert is_unseen(other, learned.rules, learned.facts.sha256)


def test_empty_files_and_their_names_do_not_matter(tmp_path: Path) -> None:
    learned = prepared(tmp_path, 12)
    pattern = cut(tmp_path / "other", 12)
    (tmp_path / "other" / "05a.txt").touch()
    other = prepare(find_corpus([pattern]), learned.rules, tmp_path / "cache")
    assert other.facts.files_sha256 == learned.facts.files_sha256
    assert other.ids.sha256() == learned.ids.sha256()


@dataclass(frozen=True)
class Record:
    """The corpus of a training."""

    sources: tuple[str, ...]
    rules: Rules
    corpus_sha256: str
    files_sha256: str | None
    folder: str | None = None


def test_a_training_continues_on_the_same_files_only(tmp_path: Path) -> None:
    dataset, cache = prepared(tmp_path, 12), tmp_path / "cache"
    record = Record(dataset.corpus.sources, dataset.rules, dataset.facts.sha256, dataset.facts.files_sha256)
    copy, other = cut(tmp_path / "copy", 12), cut(tmp_path / "other", 20)
    assert prepare_again(record, None, cache).ids.sha256() == dataset.ids.sha256()
    assert prepare_again(record, None, cache, moved_to=[copy]).ids.sha256() == dataset.ids.sha256()
    with pytest.raises(CorpusError, match="the text that the model was trained on, but in other files, and each file"):
        prepare_again(record, None, cache, moved_to=[other])


def test_a_training_of_an_earlier_release_continues(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, 12)
    record = Record(dataset.corpus.sources, dataset.rules, dataset.facts.sha256, None)
    assert prepare_again(record, None, tmp_path / "cache").ids.sha256() == dataset.ids.sha256()


@pytest.mark.parametrize(("documents", "is_kept"), [("corpus", True), ("file", False), ("line", False)])
def test_datasets_of_many_documents_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: Documents, is_kept: bool
) -> None:
    corpus, rules = find_corpus([cut(tmp_path / "texts", 12)]), Rules(documents=documents)
    folder = dataset_folder(tmp_path, corpus, rules)
    monkeypatch.setattr(cache_module, "_VERSION", 1)
    assert (dataset_folder(tmp_path, corpus, rules) == folder) is is_kept
