"""Runs on files that are documents, which know the same text in other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextchar_training.commands.texts import read_dataset
from nextchar_training.data.rules import Rules
from nextchar_training.run.checkpoint import load_checkpoint, read_held_out, save_checkpoint
from nextchar_training.run.folder import RunFolderError
from nextchar_training.teaching.teachers import open_teacher
from tests.support.trainings import SMALL, TEXT, brief, error_of, fit, main


def cut(folder: Path, files: int) -> str:
    folder.mkdir()
    lines = TEXT.splitlines(keepends=True)
    each = len(lines) // files
    for number in range(files):
        (folder / f"{number:02}.txt").write_text("".join(lines[number * each : (number + 1) * each]))
    return f"{folder}/*.txt"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose documents are twenty files."""
    folder = tmp_path_factory.mktemp("files")
    pattern = cut(folder / "20", 20)
    cut(folder / "10", 10)
    assert brief(fit(pattern, out=folder / "run", options=["--documents=file", *SMALL])) == 0
    return folder / "run"


def test_it_is_not_resumed_on_the_same_text_in_other_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(["resume", str(run), "--epochs=1", f"--corpus={run.parent}/10/*.txt"], capsys)
    assert "is the text that the model was trained on, but in other files" in message


def test_a_training_that_starts_from_it_warns_of_other_files(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--from={run}", "--threads=1"]
    for files, warns in (("20", False), ("10", True)):
        capsys.readouterr()
        assert brief(fit(f"{run.parent}/{files}/*.txt", out=tmp_path / files, options=options)) == 0
        output = " ".join(capsys.readouterr().out.split())
        assert ("learned this text by other rules or from other files" in output) is warns


def test_as_a_teacher_its_checkpoint_knows_which_files_and_its_model_file_does_not(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    assert main(["export", str(run), "--out", str(file), "--precision=fp32"]) == 0
    own, other = (
        read_dataset([f"{run.parent}/{files}/*.txt"], Rules(documents="file"), tmp_path / "cache") for files in (20, 10)
    )
    assert open_teacher(run).has_same_split(own)
    assert not open_teacher(run).has_same_split(other)
    assert not open_teacher(file).has_same_split(own)


def test_its_held_out_text_is_not_that_of_other_files(run: Path, tmp_path: Path) -> None:
    assert brief(fit(f"{run.parent}/10/*.txt", out=tmp_path / "run", options=["--documents=file", *SMALL])) == 0
    other = load_checkpoint(tmp_path / "run" / "best.pt")
    save_checkpoint(other, run / "other.pt")
    with pytest.raises(RunFolderError, match="is of another run"):
        read_held_out(other, run / "other.pt")
