"""The script that trains teachers and their student, and continues after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.pages import ROOT
from tests.support.trainings import SMALL, TEXT

SETTINGS = {
    "BUDGET": "--epochs 4",
    "CELLS": "gru lstm",
    "OPTIONS": " ".join(SMALL[1:]),
    "TEACHER_OPTIONS": "--hidden-size 20",
    "STUDENT_OPTIONS": "--hidden-size 16",
}


def start(folder: Path) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [ROOT / "examples" / "teachers.sh", folder / "text.txt", folder / "runs"],
        env={**os.environ, **SETTINGS, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_the_script_continues_after_it_was_killed_and_leaves_complete_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    first, second, student = (tmp_path / "runs" / name / "best.pt" for name in ("teacher-1", "teacher-2", "student"))
    with start(tmp_path) as process:
        assert process.stdout is not None
        finished = 0
        for line in process.stdout:
            finished += line.startswith("windows ")
            if finished and line.startswith(" ") and "validation" in line:  # of the second teacher
                os.killpg(process.pid, signal.SIGKILL)
                break
    before = first.read_bytes()
    assert not student.exists()
    with start(tmp_path) as process:
        output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert first.read_bytes() == before
    record = load_checkpoint(student).record
    assert record.taught is not None
    assert [one.name for one in record.taught.teachers] == [str(first), str(second)]
    assert load_checkpoint(first).architecture.cell == "gru"
    assert str(tmp_path / "runs" / "student.onnx") in output
