"""Who knows the part that a run watches: told of its teachers, of its start, and of those before them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.snapshot import load_snapshot
from tests.support.training_processes import TrainingProcess
from tests.support.trainings import SMALL, brief, fit, once

TAUGHT_WARNING = "it learned from another text, by other rules or from a model that did, so it may know the development"
START_WARNING = "another text, so it may know the development part"

_TUNED = [option for option in SMALL if "size=" not in option or "batch" in option]  # it keeps the network's sizes


@pytest.fixture(scope="module")
def knowing(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network that was trained on the development part."""
    return trained(text, tmp_path_factory.mktemp("knowing") / "run")


def trained(text: Path, out: Path, *options: str) -> Path:
    sizes = _TUNED if any(option.startswith("--from") for option in options) else SMALL
    assert brief(fit(text, out=out, options=[*options, *sizes])) == 0
    return out


def report_of(run: Path) -> str:
    return (run / "report.md").read_text()


def test_a_student_of_a_student_is_told_that_the_first_teacher_knows_the_part(
    text: Path, knowing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = trained(text, tmp_path / "b", "--development", f"--teacher={knowing}")
    capsys.readouterr()
    other = trained(text, tmp_path / "c", "--development", f"--teacher={student}")
    assert TAUGHT_WARNING in capsys.readouterr().out
    assert TAUGHT_WARNING in report_of(other)
    tuned = trained(text, tmp_path / "d", f"--from={student}", "--development")
    assert START_WARNING in capsys.readouterr().out
    assert START_WARNING in report_of(tuned)
    unknowing = trained(text, tmp_path / "e", "--development")
    last = trained(text, tmp_path / "f", "--development", f"--teacher={unknowing}")
    assert "may know" not in capsys.readouterr().out + report_of(last)


def test_a_student_of_a_tuned_network_is_told_that_the_network_before_knows_the_part(
    text: Path, knowing: Path, tmp_path: Path
) -> None:
    tuned = trained(text, tmp_path / "b", f"--from={knowing}", "--development")
    assert START_WARNING in report_of(tuned)
    assert TAUGHT_WARNING in report_of(trained(text, tmp_path / "c", "--development", f"--teacher={tuned}"))
    assert START_WARNING in report_of(trained(text, tmp_path / "d", f"--from={tuned}"))


def test_a_report_names_the_start_and_its_warning_after_an_interruption_and_a_longer_training_too(
    text: Path, knowing: Path, tmp_path: Path
) -> None:
    run, step = tmp_path / "run", load_checkpoint(knowing / "best.pt").record.step
    options = [f"--from={knowing}", "--development", "--epochs=8", *_TUNED]
    with TrainingProcess(fit(text, out=run, options=options)) as process:
        once(process, "validation")
        process.send_signal(signal.SIGINT)
        process.communicate()
    start = load_snapshot(run / "stopped.pt").start
    (line,) = [line for line in report_of(run).splitlines() if "starts from" in line]
    assert line.startswith(f"- starts from the weights of step {step:,} of: `nextchar-train fit ")
    assert line.endswith(START_WARNING)
    assert brief(["resume", str(run)]) == 0
    assert line in report_of(run).splitlines()
    assert brief(["resume", str(run), "--epochs=1", "--threads=1"]) == 0
    assert f", with a new schedule; it {line.removeprefix('- ')}\n" in report_of(run)
    assert load_checkpoint(run / "last.pt").record.start == start is not None
