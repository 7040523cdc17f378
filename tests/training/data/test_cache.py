"""Datasets in the cache: each appears whole or not at all, and the remains of killed processes are removed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nextchar_training.data.cache import (
    dataset_folder,
    distributions_folder,
    new_folder,
    one_at_a_time,
    remove_abandoned,
)
from nextchar_training.data.corpus import Corpus, TextFile
from nextchar_training.data.dataset import prepare
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus


def test_a_folder_appears_at_the_end_and_nothing_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "name"
    with new_folder(folder) as partial:
        (partial / "file").write_text("content")
        assert not folder.exists()
    assert (folder / "file").read_text() == "content"
    assert list(folder.parent.iterdir()) == [folder]


def test_after_an_error_nothing_stays(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "datasets" / "name") as partial:
            (partial / "file").write_text("content")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "name"
    with new_folder(folder) as partial:
        (partial / "file").write_text("second")
        folder.mkdir()
        (folder / "file").write_text("first")
    assert (folder / "file").read_text() == "first"


def test_a_folder_that_is_being_made_is_not_removed(tmp_path: Path) -> None:
    with new_folder(tmp_path / "datasets" / "name") as partial:
        remove_abandoned(tmp_path)
        assert partial.exists()


def test_only_one_process_at_a_time_makes_a_folder_of_a_kind(tmp_path: Path) -> None:
    folder = tmp_path / "teachers" / "name"
    with one_at_a_time(folder):
        place = os.open(folder.parent, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(place)


def test_distributions_are_named_by_their_teacher_and_their_text(tmp_path: Path) -> None:
    names = {distributions_folder(tmp_path, teacher, ids) for teacher in ("a", "b") for ids in ("a", "b")}
    assert len(names) == 4


_MAKE = """
import sys
from pathlib import Path
from nextchar_training.data.cache import new_folder
with new_folder(Path(sys.argv[1])):
    print("made", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["datasets", "teachers"])
def test_the_remains_of_a_killed_process_are_removed_when_the_next_dataset_is_prepared(
    tmp_path: Path, kind: str
) -> None:
    datasets = tmp_path / "cache" / kind
    with subprocess.Popen(
        [sys.executable, "-c", _MAKE, str(datasets / "name")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
    assert len(list(datasets.glob("partial.*"))) == 1
    (tmp_path / "text.txt").write_text("some text\n")
    dataset = prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(), tmp_path / "cache")
    assert list(datasets.iterdir()) == ([dataset.folder] if kind == "datasets" else [])


def corpus_with(identity: str) -> Corpus:
    return Corpus("text", ("text",), (TextFile("text", 1, (identity,)),))


def test_the_name_of_a_dataset_follows_from_its_files_and_its_rules(tmp_path: Path) -> None:
    folder = dataset_folder(tmp_path, corpus_with("a"), Rules())
    assert folder == dataset_folder(tmp_path, corpus_with("a"), Rules())
    assert folder != dataset_folder(tmp_path, corpus_with("b"), Rules())
    assert folder != dataset_folder(tmp_path, corpus_with("a"), Rules(minimum_count=2))


def test_a_usual_rule_names_the_same_dataset_if_it_is_written_out(tmp_path: Path) -> None:
    usual, written = Rules(documents="line"), Rules(documents="line", hold_out="documents")
    assert dataset_folder(tmp_path, corpus_with("a"), usual) == dataset_folder(tmp_path, corpus_with("a"), written)


def test_a_development_part_takes_no_other_ids_unless_it_keeps_its_order(tmp_path: Path) -> None:
    def name(**rules: Any) -> str:
        return dataset_folder(tmp_path, corpus_with("a"), Rules(**rules)).name

    assert name() == name(development=True)
    assert name(documents="line") == name(documents="line", development=True)
    last: dict[str, Any] = {"documents": "line", "hold_out": "tail"}
    assert name(**last) != name(**last, development=True)


def test_the_name_is_that_of_the_releases_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unicodedata.unidata_version", "14.0.0")
    assert dataset_folder(tmp_path, corpus_with("a"), Rules(verbatim=True)).name == "d3a47a873dddee90e1dbef1c5bd04037"
