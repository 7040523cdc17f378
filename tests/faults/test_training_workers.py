"""Troubles around a training of several processes, or on a machine without a GPU."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from nextchar_training.learning.workers import WorkersError, joined
from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.training_processes import TrainingProcess
from tests.support.trainings import SMALL, TEXT, error_of, fit, training_process


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def others_of(process: TrainingProcess) -> list[int]:
    """Returns the processes that a training started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in children.split()]


@pytest.mark.slow
def test_training_that_loses_a_process_says_so_and_can_be_resumed(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training_process(text, run, processes=2) as process:
        (other,) = others_of(process)
        os.kill(other, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith("nextchar-train: error: a process of the training is lost: ")
    assert errors.count("\n") == 1
    assert load_checkpoint(run / "last.pt").record.step > 0
    assert (run / "stopped.pt").exists()


def test_process_that_ends_before_it_joins_is_told_at_once() -> None:
    arguments = ["resume", "/dev/null/run"]  # which rank 1 refuses
    with (
        pytest.raises(WorkersError, match="process 1 of the training ended with 2 before it joined the others"),
        joined(2, torch.device("cpu"), arguments),
    ):
        pytest.fail("joined without the other process")


@pytest.mark.slow
def test_processes_end_with_a_training_that_is_killed(text: Path, tmp_path: Path) -> None:
    with training_process(text, tmp_path / "run", processes=2) as process:
        (other,) = others_of(process)
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{other}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_stopped_training_of_two_processes_is_silent(text: Path, tmp_path: Path) -> None:
    with training_process(text, tmp_path / "run", processes=2) as process:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    assert "stopped before the end" in output


@pytest.mark.slow
def test_batch_or_pipe_that_several_processes_cannot_share_is_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = fit(text, out=tmp_path / "run", options=["--processes=3", *SMALL])
    assert "3 processes can't divide a batch of 8 sequences evenly" in error_of(arguments, capsys)
    arguments = fit("-", out=tmp_path / "run", options=["--processes=2", *SMALL])
    assert "can be read only once, but each process reads it: write it to a file first" in error_of(arguments, capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_missing_gpu_is_refused(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(fit(text, out=tmp_path / "run", options=["--device=cuda", *SMALL]), capsys)
    assert "device cuda is not available: torch" in message
    assert "use --device cpu" in message
    assert not (tmp_path / "run").exists()
