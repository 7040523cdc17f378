"""A training's outputs that fail: pictures, reports, samples, TensorBoard, and standard output of any kind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

import pytest

from nextchar_training.run import fit as fit_module
from nextchar_training.run import tensorboard, terminal
from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.trainings import COMMAND, SMALL, TEXT, brief, fit, main


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "한글.txt"
    path.write_text(TEXT.replace("line", "행"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert brief(fit(text, out=folder)) == 0
    return folder


def broken(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("it broke\nwith a second line")


@pytest.mark.parametrize(
    ("place", "name", "missing"),
    [
        (fit_module, "draw_losses", "loss.png"),
        (fit_module, "written_samples", "samples.txt"),
        (fit_module, "written_report", "report.md"),
        (fit_module, "written_sample", None),
        (tensorboard.TensorBoardReporter, "report", "events"),
        (tensorboard.TensorBoardReporter, "__exit__", None),
        (terminal.TerminalReporter, "report", None),
        (terminal.TerminalReporter, "__enter__", None),
    ],
    ids=lambda value: str(value),
)
def test_an_extra_that_fails_is_one_warning_and_the_run_is_complete(
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: object,
    name: str,
    missing: str | None,
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(place, name, broken)
    assert brief([*fit(text, out=run), "--tensorboard"]) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("nextchar-train: warning: ")
    assert errors.count("\n") == 1
    assert "RuntimeError: it broke;" in errors
    assert load_checkpoint(run / "best.pt").record.stateful_loss is not None
    whole = {"loss.png", "samples.txt", "report.md"} - {missing}
    assert all((run / file).exists() for file in whole)
    assert not (run / "stopped.pt").exists()


def command(
    arguments: list[str], stdout: int | IO[bytes] = subprocess.PIPE, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[bytes]:
    """Runs ``nextchar-train`` as a process."""
    everything = [str(COMMAND), *arguments]
    return subprocess.run(everything, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252"])
def test_no_encoding_of_the_output_ends_a_training(text: Path, tmp_path: Path, encoding: str) -> None:
    done = command(fit(text, out=tmp_path / "run"), environment={**os.environ, "PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.stateful_loss is not None


@pytest.mark.slow
def test_a_locale_without_utf8_ends_no_training_and_a_sample_is_utf8(text: Path, tmp_path: Path) -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command(fit(text, out=tmp_path / "run"), environment=plain)
    assert (done.returncode, done.stderr) == (0, b"")
    done = command(["sample", str(tmp_path / "run"), "--characters=300"], environment=plain)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "행" in done.stdout.decode()


def without_a_reader(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Runs ``nextchar-train`` with a standard output whose reader is gone, as in ``… | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return command(arguments, writer)
    finally:
        os.close(writer)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["--help", "sample", "compare"])
def test_a_verb_whose_reader_has_seen_enough_ends_without_a_word(run: Path, verb: str) -> None:
    arguments = [] if verb == "--help" else [str(run)]
    done = without_a_reader([verb, *arguments])
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_work_whose_reader_has_left_is_done_without_a_word(text: Path, tmp_path: Path) -> None:
    done = without_a_reader(fit(text, out=tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "run" / "report.md").exists()
    done = without_a_reader(["export", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx")])
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "m.onnx").exists()


@pytest.mark.slow
def test_a_full_disk_below_standard_output_is_one_warning_and_the_run_is_complete(text: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = command(fit(text, out=tmp_path / "run"), full)
    assert done.returncode == 0
    assert done.stderr == b"nextchar-train: warning: standard output can't be written: No space left on device\n"
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.slow
def test_closed_standard_streams_end_no_training_and_no_file_takes_their_place(text: Path, tmp_path: Path) -> None:
    line = f'exec "{COMMAND}" "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", line, "sh", *fit(text, out=tmp_path / "run")], timeout=600)
    assert done.returncode == 0
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.stateful_loss is not None


def test_standard_input_that_is_closed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["fit", "-", "--out", str(tmp_path / "run"), "--epochs=1", *SMALL]) == 2
    assert capsys.readouterr().err == "nextchar-train: error: standard input: closed\n"
