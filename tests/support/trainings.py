"""Trainings of a few seconds, for the tests of ``nextchar-train`` and of the faults around it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nextchar_training import commands
from tests.support.training_processes import TrainingProcess

COMMAND = Path(sys.executable).with_name("nextchar-train")

TEXT = "".join(f"The {n}th line of a text that repeats itself.\n" for n in range(200))

SMALL = ["--hidden-size=16", "--embedding-size=8", "--batch-size=8", "--sequence-length=16", "--threads=1"]


def main(arguments: Sequence[str]) -> int:
    """Runs ``nextchar-train`` in this process and returns its exit code."""
    return commands.main(arguments)


@contextmanager
def abridged(evaluations: int = 25) -> Iterator[None]:
    """Trainings of this process write samples of a line, leave the picture of the losses empty, and evaluate 25 times,
    as they do otherwise, or ``evaluations`` times. All these take longer than a small training.
    """
    from nextchar_training.learning import trainer  # imports torch
    from nextchar_training.run import curves, fit, samples

    def undrawn(runs: Mapping[str, object], path: Path, title: str) -> None:
        path.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_MOST_VALIDATIONS", evaluations)
        patch.setattr(samples, "_PREVIEW", 40)
        patch.setattr(samples, "_FULL", 40)
        if vars(fit)["draw_losses"] is curves.draw_losses:  # else the test has another in its place
            patch.setattr(fit, "draw_losses", undrawn)
        yield


def brief(arguments: Sequence[str], *, evaluations: int = 5) -> int:
    """Runs ``main``, but ``abridged``, for tests that look neither at the samples nor at the picture.

    With several processes, ``evaluations`` must be 25, because the others are programs of their own.
    """
    with abridged(evaluations):
        return main(arguments)


def fit(*sources: object, out: Path, options: Sequence[str] = SMALL) -> list[str]:
    """Returns the arguments of a small training, for one epoch unless ``options`` have another number."""
    epochs = [] if any(option.startswith("--epochs") for option in options) else ["--epochs=1"]
    return ["fit", *map(str, sources), "--out", str(out), *epochs, *options]


def error_of(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs ``nextchar-train``, which must fail, and returns its one line of error."""
    capsys.readouterr()
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("nextchar-train: error: ")
    assert message.count("\n") == 1
    return message


def once(process: subprocess.Popen[str] | TrainingProcess, text: str) -> str:
    """Waits for a line of the process's output that holds ``text``, and returns it."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"the process ended before it said {text!r}: {process.communicate()}")


@contextmanager
def training_process(
    text: Path, run: Path, budget: str = "--epochs=40", processes: int = 1, *options: str
) -> Iterator[TrainingProcess]:
    """A process that trains. It has evaluated twice, so both checkpoints are there."""
    arguments = ["fit", str(text), "--out", str(run), budget, f"--processes={processes}", *SMALL, *options]
    with TrainingProcess(arguments) as process:
        once(process, "validation")
        once(process, "validation")
        yield process


@contextmanager
def training_command(text: Path, run: Path) -> Iterator[subprocess.Popen[str]]:
    """``training_process``, started as a user does it: by the command's name, as a new program."""
    arguments = fit(text, out=run, options=["--epochs=40", *SMALL])
    with subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            once(process, "validation")
            once(process, "validation")
            yield process
        finally:
            process.kill()
