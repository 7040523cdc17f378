import csv
import re
from pathlib import Path

import numpy as np
import pytest

from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind, Spelling
from nextchar_training.run.curves import draw_losses
from nextchar_training.run.folder import LossRow, RunFolder, RunFolderError
from nextchar_training.run.held_out import first_characters


def row(step: int) -> LossRow:
    return LossRow(
        step=step,
        epoch=step / 10,
        seconds=step * 2.0,
        characters=step * 100,
        learning_rate=0.003,
        training_loss=3.0 - step / 10,
        validation_loss=3.1 - step / 10,
    )


def test_losses_are_a_table_with_a_head(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "run")
    folder.start()
    folder.add_losses(row(1))
    folder.add_losses(row(2))
    with folder.losses.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [one["step"] for one in rows] == ["1", "2"]
    assert [float(one["validation_loss"]) for one in rows] == [3.0, 2.9]


def test_losses_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start()
    folder.add_losses(row(1))
    folder.add_losses(row(2))
    assert folder.read_losses() == [row(1), row(2)]


def test_folder_without_a_run_and_a_damaged_table_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run: holds no run \(loss.csv: No such file or directory\)"):
        RunFolder(tmp_path / "run").read_losses()
    (tmp_path / "loss.csv").write_text(",".join(vars(row(1))) + "\n1,x,1,1,1,1,1\n")
    with pytest.raises(RunFolderError, match=r"loss.csv: damaged: 0.epoch: 'x' is invalid; it must be a number"):
        RunFolder(tmp_path, overwrite=True).read_losses()


def test_curve_is_a_png(tmp_path: Path) -> None:
    draw_losses({"run": [row(1), row(2)]}, tmp_path / "loss.png", "title")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def documents(kind: Kind = "characters") -> list[Spelling]:
    """A document that ends with the boundary, and one that is cut off."""
    alphabet = Alphabet.of("né 한국", kind)
    first, second = alphabet.spell("né"), alphabet.spell("한국 n")
    return [Spelling(first.text, np.append(first.ids, BOUNDARY), first.lengths), second]


def as_lists(spelled: list[Spelling]) -> list[tuple[str, list[int], list[int]]]:
    return [(one.text, one.ids.tolist(), one.lengths.tolist()) for one in spelled]


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_held_out_documents_are_read_as_they_were_written(tmp_path: Path, kind: Kind) -> None:
    folder = RunFolder(tmp_path)
    folder.write_held_out(documents(kind))
    assert as_lists(folder.read_held_out()) == as_lists(documents(kind))


def test_run_without_held_out_text_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds no held-out text \(held_out\.npz\); name a text .* with --text"):
        RunFolder(tmp_path).read_held_out()


@pytest.mark.parametrize("kept", [0, 1, 100, 400, -1])
def test_held_out_text_that_is_cut_off_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    folder = RunFolder(tmp_path)
    folder.write_held_out(documents())
    folder.held_out.write_bytes(folder.held_out.read_bytes()[:kept])
    with pytest.raises(RunFolderError, match=r"held_out\.npz: damaged: .*; name a text .* with --text"):
        folder.read_held_out()


def test_any_damaged_byte_of_the_held_out_text_is_noticed_or_harmless(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_held_out([Alphabet.of("abc").spell("abcab" * 100)])
    whole = folder.held_out.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        folder.held_out.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            folder.read_held_out()
        except RunFolderError:
            refused += 1
    assert refused > len(whole) / 9


def test_hint_to_resume_quotes_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a run"
    path.mkdir()
    (path / "stopped.pt").touch()
    with pytest.raises(RunFolderError, match=f"nextchar-train resume '{re.escape(str(path))}' continues it"):
        RunFolder(path)


def test_first_characters_keep_the_boundary_of_whole_documents_only() -> None:
    whole = documents("jamo")
    assert as_lists(first_characters(whole, 6)) == as_lists(whole)
    assert as_lists(first_characters(whole, 2)) == as_lists(whole[:1])
    assert as_lists(first_characters(whole, 1)) == [("n", whole[0].ids[:1].tolist(), [1])]
    assert as_lists(first_characters(whole, 3))[1] == ("한", whole[1].ids[:3].tolist(), [3])


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "loss.csv", "report.md"])
def test_folder_that_holds_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(RunFolderError, match=rf"already holds a run \({name}\); --overwrite .* replaces it"):
        RunFolder(tmp_path)


def test_refused_folder_names_the_remedy_of_the_command_and_of_python(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    with pytest.raises(RunFolderError, match=r"--overwrite \(in Python: overwrite=True\) replaces it$"):
        RunFolder(tmp_path)


def test_folder_with_other_files_is_taken_and_they_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path).start()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_overwrite_removes_the_old_run_only_when_the_new_one_starts(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_text("x")
    folder = RunFolder(tmp_path, overwrite=True)
    assert folder.best.exists()
    folder.start()
    assert not folder.best.exists()


def test_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunFolderError, match="not a folder"):
        RunFolder(tmp_path / "run")
