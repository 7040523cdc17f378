"""The environment of a training: another folder, a corpus that was moved, no home, folders that can't be written."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from nextchar_training import files, picture
from nextchar_training.data.cache import CACHE_DIR
from nextchar_training.run import fit as fit_module
from nextchar_training.run.checkpoint import load_checkpoint, save_checkpoint
from nextchar_training.run.folder import RunFolder
from tests.support.trainings import SMALL, TEXT, brief, error_of, fit, main


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was started on a relative path; do not write into it."""
    folder = tmp_path_factory.mktemp("projects") / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.txt").write_text(TEXT)
    (folder / "data" / "b.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, source in (("file", "data/a.txt"), ("folder", "data"), ("pattern", "data/*.txt")):
            assert brief(fit(source, out=Path("runs", name))) == 0
    return folder


@pytest.mark.parametrize("name", ["file", "folder", "pattern"])
def test_a_run_on_a_relative_path_continues_from_any_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(project / "runs" / name, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert brief(["resume", "run", "--epochs=1"]) == 0
    assert load_checkpoint(tmp_path / "run" / "last.pt").record.folder == str(project)


def test_a_project_that_was_moved_as_a_whole_continues_in_its_new_place(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(project, moved)
    last = load_checkpoint(moved / "runs" / "file" / "last.pt")
    gone = replace(last, record=replace(last.record, folder="/nowhere/project"))
    save_checkpoint(gone, moved / "runs" / "file" / "last.pt")
    monkeypatch.chdir(moved)
    assert brief(["resume", "runs/file", "--epochs=1"]) == 0


@pytest.fixture
def lost(project: Path, tmp_path: Path) -> Path:
    """A run whose corpus is gone."""
    shutil.copytree(project / "runs" / "file", tmp_path / "run")
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    record = replace(last.record, folder="/nowhere/project")
    save_checkpoint(replace(last, record=record), tmp_path / "run" / "last.pt")
    return tmp_path / "run"


def test_a_corpus_that_is_gone_is_named_with_both_folders_and_no_remedy_that_destroys(
    lost: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lost.parent)
    message = error_of(["resume", "run", "--epochs=1"], capsys)
    assert "'data/a.txt': no such file" in message
    assert f"in /nowhere/project, where the run was started, nor in {lost.parent}" in message
    assert "--corpus" in message
    assert "--overwrite" not in message


def test_a_corpus_that_was_moved_is_named_with_an_option_and_must_be_the_same_text(
    lost: Path, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text(TEXT + "more")
    message = error_of(["resume", str(lost), "--epochs=1", f"--corpus={tmp_path}/other.txt"], capsys)
    assert "is no longer the text that the model was trained on" in message
    assert "--overwrite" not in message
    assert brief(["resume", str(lost), "--epochs=1", f"--corpus={project}/data/a.txt"]) == 0
    assert brief(["resume", str(lost), "--epochs=1"]) == 0  # the new place is kept


def test_a_run_of_an_earlier_release_says_where_it_looks(
    lost: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = load_checkpoint(lost / "last.pt")
    save_checkpoint(replace(last, record=replace(last.record, folder=None)), lost / "last.pt")
    monkeypatch.chdir(tmp_path)
    message = error_of(["resume", str(lost), "--epochs=1"], capsys)
    assert f"in {tmp_path}; an earlier release wrote the run, without the folder that it was started in" in message


def interrupted(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def test_a_stopped_run_continues_from_any_folder_and_is_never_offered_to_be_overwritten(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(project)
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "draw_losses", interrupted)
        assert brief(fit("data/a.txt", out=run)) == 130
    monkeypatch.chdir(tmp_path)
    message = error_of(fit(project / "data" / "a.txt", out=run), capsys)
    assert f"nextchar-train resume {run} continues it" in message
    assert "--overwrite" not in message
    assert brief(["resume", "run"]) == 0
    assert not (run / "stopped.pt").exists()


# Without a home.


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the list of users doesn't know, without the variables that name folders."""

    def unknown(number: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("homeless")
def test_a_home_is_needed_by_the_cache_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.delenv(CACHE_DIR)
    for arguments in (["--version"], ["--help"], ["fit", "--help"]):
        assert main(arguments) == 0
    assert "with --cache or NEXTCHAR_CACHE_DIR" in error_of(fit(tmp_path / "text.txt", out=tmp_path / "run"), capsys)
    options = [*SMALL, f"--cache={tmp_path}/cache"]
    assert main(fit(tmp_path / "text.txt", out=tmp_path / "run", options=options)) == 0
    assert (tmp_path / "run" / "loss.png").exists()
    assert not list(Path().glob("~*"))


@pytest.mark.usefixtures("homeless")
def test_a_picture_finds_a_folder_for_its_cache_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    picture.new_figure(1, 1)
    folder = Path(os.environ["MPLCONFIGDIR"])
    assert folder.parent == Path(tempfile.gettempdir())
    monkeypatch.delenv("MPLCONFIGDIR")
    shutil.rmtree(folder)


# Folders that can't be written.


def test_a_folder_that_cannot_be_written_is_told_before_the_corpus_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for out in (tmp_path, tmp_path / "new" / "run"):
        message = error_of(fit("missing.txt", out=out), capsys)
        assert f"{out}: can't take a run: {tmp_path} is not writable" in message
    message = error_of(["gates", "missing.pt", "missing.txt", f"--out={tmp_path}/gates"], capsys)
    assert f"--out: {tmp_path} is not writable" in message


def test_a_file_above_the_folder_of_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    message = error_of(fit("missing.txt", out=tmp_path / "file" / "run"), capsys)
    assert f"{tmp_path}/file is not a folder" in message


def test_a_run_folder_that_may_only_be_read_is_compared_and_sampled(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    run = str(project / "runs" / "file")
    assert main(["compare", run]) == 0
    assert main(["sample", run, "--characters=5"]) == 0


def full(after: int) -> Callable[..., None]:
    """``os.fsync`` of a disk that is full from the ``after``-th file on."""
    calls = []

    def fsync(number: int) -> None:
        calls.append(number)
        if len(calls) > after:
            raise OSError(28, "No space left on device")

    return fsync


@pytest.mark.parametrize("after", [4, 7, 11])
def test_a_full_disk_leaves_each_file_of_the_run_whole(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: int
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full(after))
        message = error_of(fit(project / "data" / "a.txt", out=run), capsys)
    assert "was not written: No space left on device" in message
    assert not list(run.glob("*.partial"))
    rows = RunFolder(run, overwrite=True).read_losses()
    if (run / "last.pt").exists():
        assert load_checkpoint(run / "last.pt").record.step <= rows[-1].step


def test_a_full_disk_at_the_end_costs_the_pictures_alone(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = files.write_whole

    def written(path: Path, content: bytes | memoryview, *, kind: str = "file") -> None:
        if kind in ("picture", "samples", "report"):
            raise OSError(28, f"the {kind} was not written: No space left on device", str(path))
        original(path, content, kind=kind)

    monkeypatch.setattr(picture, "write_whole", written)
    monkeypatch.setattr(files, "write_whole", written)
    capsys.readouterr()
    assert main(fit(project / "data" / "a.txt", out=tmp_path / "run")) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert [warning.split(": ")[2] for warning in warnings] == ["loss.png", "samples.txt", "report.md"]
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.stateful_loss is not None
