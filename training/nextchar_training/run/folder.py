"""The run folder: what a training leaves behind.

| file | what |
|---|---|
| ``best.pt`` | the checkpoint with the lowest validation loss |
| ``last.pt`` | the checkpoint of the last evaluation |
| ``stopped.pt`` | while the run is not complete: what ``nextchar-train resume`` goes on from |
| ``loss.csv``, ``loss.png`` | the losses along the way |
| ``samples.txt`` | texts that the best checkpoint writes |
| ``events.out.tfevents.*`` | with ``--tensorboard``: its file |
| ``report.md`` | command, corpus, machine, speed and losses |

A folder holds one run. It is made or emptied after the first step, when a training has shown that it can run.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path


class RunFolderError(ValueError):
    """A folder cannot take a run."""


@dataclass(frozen=True)
class LossRow:
    """One evaluation during training. The losses are in nats a character, as in ``TrainingRecord``."""

    step: int
    epoch: float
    seconds: float
    characters: int
    learning_rate: float
    training_loss: float
    validation_loss: float


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.best = path / "best.pt"
        self.last = path / "last.pt"
        self.stopped = path / "stopped.pt"
        self.losses = path / "loss.csv"
        self.curve = path / "loss.png"
        self.samples = path / "samples.txt"
        self.report = path / "report.md"
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path}: not a folder")
        if not overwrite and (held := [file.name for file in self._files() if file.exists()]):
            hint = f", nextchar-train resume {path} goes on with it" if self.stopped.exists() else ""
            raise RunFolderError(f"{path}: already holds a run ({', '.join(held)}); --overwrite replaces it{hint}")

    @property
    def boards(self) -> tuple[Path, ...]:
        """TensorBoard's files."""
        return tuple(self.path.glob("events.out.tfevents.*"))

    def _files(self) -> tuple[Path, ...]:
        return (self.best, self.last, self.stopped, self.losses, self.curve, self.samples, self.report, *self.boards)

    def start(self) -> None:
        """Makes the folder and removes the run that it held; other files in it stay."""
        self.path.mkdir(parents=True, exist_ok=True)
        for file in self._files():
            file.unlink(missing_ok=True)
        self.write_losses([])

    def write_losses(self, rows: Sequence[LossRow]) -> None:
        """Makes ``loss.csv`` anew."""
        with self.losses.open("w", encoding="utf-8", newline="") as losses:
            csv.writer(losses).writerow(field.name for field in fields(LossRow))
            csv.writer(losses).writerows(map(astuple, rows))

    def read_losses(self) -> list[LossRow]:
        """The rows of ``loss.csv``. Raises ``RunFolderError`` for a folder that holds no run."""
        try:
            with self.losses.open(encoding="utf-8", newline="") as losses:
                return [_row(row) for row in csv.DictReader(losses)]
        except OSError as error:
            raise RunFolderError(f"{self.path}: holds no run ({self.losses.name}: {error.strerror})") from error
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"{self.losses}: damaged: {error}") from error

    def add_losses(self, row: LossRow) -> None:
        """Adds a line to ``loss.csv``."""
        with self.losses.open("a", encoding="utf-8", newline="") as losses:
            csv.writer(losses).writerow(astuple(row))


def _row(written: Mapping[str, str]) -> LossRow:
    return LossRow(
        step=int(written["step"]),
        epoch=float(written["epoch"]),
        seconds=float(written["seconds"]),
        characters=int(written["characters"]),
        learning_rate=float(written["learning_rate"]),
        training_loss=float(written["training_loss"]),
        validation_loss=float(written["validation_loss"]),
    )
