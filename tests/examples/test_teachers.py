"""The script that trains teachers and their student, and continues after it was interrupted or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.pages import ROOT
from tests.support.trainings import SMALL, TEXT

SIZES = " ".join(option for option in SMALL if not option.startswith(("--hidden-size", "--threads")))
SETTINGS = {
    "BUDGET": "--epochs 8",
    "CELLS": "gru lstm",
    "TEACHER_OPTIONS": f"--hidden-size 20 {SIZES}",
    "STUDENT_OPTIONS": f"--hidden-size 16 {SIZES}",
}


def start(folder: Path, *, jobs: int) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [ROOT / "examples" / "teachers.sh", folder / "text.txt", folder / "runs"],
        env={**os.environ, **SETTINGS, "JOBS": str(jobs), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_losses(process: subprocess.Popen[str], *runs: Path) -> None:
    """Returns once each of the runs has begun or gone on to learn, as its log tells."""
    logs = [run.with_suffix(".log") for run in runs]
    known = {log: log.stat().st_size if log.exists() else 0 for log in logs}
    while not all(log.exists() and "validation" in log.read_text()[known[log] :] for log in logs):
        assert process.poll() is None
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    """Kills the script and its trainings, each of which has a process group of its own."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children:
        os.killpg(int(child), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the trainings of the script in /proc")
def test_the_script_continues_after_an_interrupt_and_a_kill_and_leaves_complete_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    first, second, student = (tmp_path / "runs" / name for name in ("teacher-1", "teacher-2", "student"))
    with start(tmp_path, jobs=2) as process:
        wait_for_losses(process, first, second)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
    assert process.returncode == 130
    assert (first / "stopped.pt").exists()
    assert (second / "stopped.pt").exists()
    with start(tmp_path, jobs=1) as process:
        wait_for_losses(process, second)
        kill(process)
    before = (first / "last.pt").read_bytes()
    assert not student.exists()
    with start(tmp_path, jobs=1) as process:
        output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert (first / "last.pt").read_bytes() == before
    record = load_checkpoint(student / "last.pt").record
    assert record.taught is not None
    assert [one.name for one in record.taught.teachers] == [str(first / "last.pt"), str(second / "last.pt")]
    assert load_checkpoint(first / "last.pt").architecture.cell == "gru"
    assert str(tmp_path / "runs" / "student.onnx") in output


@pytest.mark.slow
def test_the_script_names_the_training_that_failed(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("short")
    with start(tmp_path, jobs=1) as process:
        output, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    first = tmp_path / "runs" / "teacher-1"
    assert errors == f"teachers.sh: {first}: not trained\n"
    assert f"{first}.log" in output
    assert "error" in first.with_suffix(".log").read_text()


def test_the_script_refuses_other_settings_than_those_that_the_folder_was_begun_with(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "settings.txt").write_text("another text | lstm |  |  | --epochs 1\n")
    with start(tmp_path, jobs=2) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was begun with other settings" in errors
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["settings.txt"]


def test_the_script_refuses_a_number_of_jobs_that_is_none(tmp_path: Path) -> None:
    with start(tmp_path, jobs=0) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "teachers.sh: JOBS is 0, not a number from 1 on\n")
    assert not (tmp_path / "runs").exists()
