"""The run folder: what a training leaves behind.

| file | what |
|---|---|
| ``best.pt`` | the checkpoint with the lowest validation loss |
| ``last.pt`` | the checkpoint of the last evaluation |
| ``stopped.pt`` | while the run is not complete: what ``nextchar-train resume`` goes on from |
| ``loss.csv``, ``loss.png`` | the losses along the way |
| ``samples.txt`` | texts that the best checkpoint writes |
| ``report.md`` | command, corpus, machine, speed and losses |

A folder holds one run. It is made or emptied after the first step, when a training has shown that it can run.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from matplotlib.figure import Figure


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

    def _files(self) -> tuple[Path, ...]:
        return (self.best, self.last, self.stopped, self.losses, self.curve, self.samples, self.report)

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

    def add_losses(self, row: LossRow) -> None:
        """Adds a line to ``loss.csv``."""
        with self.losses.open("a", encoding="utf-8", newline="") as losses:
            csv.writer(losses).writerow(astuple(row))


def draw_losses(rows: list[LossRow], path: Path, title: str) -> None:
    """Draws the losses along the way as a PNG."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    millions = [row.characters / 1e6 for row in rows]
    axes.plot(millions, [row.training_loss for row in rows], marker=".", label="training (with dropout)")
    best = min(row.validation_loss for row in rows)
    label = f"validation (256-character windows), best {best:.4f}"
    axes.plot(millions, [row.validation_loss for row in rows], marker=".", label=label)
    axes.set_xlabel("characters read (millions)")
    axes.set_ylabel("loss (nats per character)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
