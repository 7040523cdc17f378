"""The run folder: the files that a training leaves behind.

| file | content |
|---|---|
| ``best.pt`` | the checkpoint with the lowest validation loss |
| ``last.pt`` | the checkpoint of the last evaluation |
| ``stopped.pt`` | until the run is complete: the snapshot that ``nextchar-train resume`` continues from |
| ``held_out.npz`` | the held-out documents that the losses and the export are measured on |
| ``loss.csv``, ``loss.png`` | the losses along the way |
| ``samples.txt`` | texts that the best checkpoint writes |
| ``events.out.tfevents.*`` | with ``--tensorboard``: its file |
| ``report.md`` | command, corpus, machine, speed and losses |

A folder holds one run. It is created or emptied after the first step, once the training has shown that it can run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import shell_path
from nextchar_cli.wording import explain
from nextchar_model.alphabet import Spelling

from ..files import obstacle, write_text, write_whole
from .held_out import load_held_out, save_held_out

BEST = "best.pt"
"""The name of a run's best checkpoint."""


class RunFolderError(ValueError):
    """A folder can't take a run, or lacks the file that is asked for."""


@dataclass(frozen=True)
class LossRow:
    """One evaluation during training. Losses are in nats per character, as in ``TrainingRecord``."""

    step: int
    epoch: float
    seconds: float
    characters: int
    learning_rate: float
    training_loss: float
    validation_loss: float


_ROWS = TypeAdapter(list[LossRow])


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        """Raises ``RunFolderError`` if ``path`` isn't a folder, or without ``overwrite`` if it already holds a run."""
        self.path = path
        self.best = path / BEST
        self.last = path / "last.pt"
        self.stopped = path / "stopped.pt"
        self.held_out = path / "held_out.npz"
        self.losses = path / "loss.csv"
        self.curve = path / "loss.png"
        self.samples = path / "samples.txt"
        self.report = path / "report.md"
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path}: not a folder")
        if not overwrite and (held := [file.name for file in self._files() if file.exists()]):
            remedy = "--overwrite (in Python: overwrite=True) replaces it"
            if self.stopped.exists():
                remedy = f"nextchar-train resume {shell_path(path)} continues it; another --out starts a new one"
            raise RunFolderError(f"{path}: already holds a run ({', '.join(held)}); {remedy}")

    def check_writable(self) -> None:
        """Raises ``RunFolderError`` if no file can be written into the folder, or if it can't be made."""
        if (reason := obstacle(self.path)) is not None:
            raise RunFolderError(f"{self.path}: can't take a run: {reason}")

    @property
    def event_files(self) -> tuple[Path, ...]:
        """TensorBoard's files."""
        return tuple(self.path.glob("events.out.tfevents.*"))

    def _files(self) -> tuple[Path, ...]:
        checkpoints = (self.best, self.last, self.stopped)
        return (*checkpoints, self.held_out, self.losses, self.curve, self.samples, self.report, *self.event_files)

    def start(self) -> None:
        """Creates the folder and removes the run that it held; other files in it stay."""
        self.path.mkdir(parents=True, exist_ok=True)
        for file in self._files():
            file.unlink(missing_ok=True)
        self.write_losses([])

    def write_losses(self, rows: Sequence[LossRow]) -> None:
        """Writes ``loss.csv`` anew, whole or not at all."""
        table = io.StringIO(newline="")
        csv.writer(table).writerow(field.name for field in fields(LossRow))
        csv.writer(table).writerows(map(astuple, rows))
        write_whole(self.losses, table.getvalue().encode(), kind="loss table")

    def add_losses(self, row: LossRow) -> None:
        """Adds a line to ``loss.csv``, whole or not at all."""
        line = io.StringIO(newline="")
        csv.writer(line).writerow(astuple(row))
        write_whole(self.losses, self.losses.read_bytes() + line.getvalue().encode(), kind="loss table")

    def read_losses(self) -> list[LossRow]:
        """Returns the rows of ``loss.csv``. Raises ``RunFolderError`` if the folder holds no run or it is damaged."""
        try:
            with self.losses.open(encoding="utf-8", newline="") as losses:
                return _ROWS.validate_python(list(csv.DictReader(losses)))
        except OSError as error:
            raise RunFolderError(f"{self.path}: holds no run ({self.losses.name}: {error.strerror})") from error
        except ValidationError as error:
            field, reason = explain(error)
            raise RunFolderError(f"{self.losses}: damaged: {field}: {reason}") from error
        except (csv.Error, ValueError) as error:
            raise RunFolderError(f"{self.losses}: damaged: {error}") from error

    def write_samples(self, text: str) -> None:
        """Writes ``samples.txt``, whole or not at all."""
        write_text(self.samples, text, kind="samples")

    def write_report(self, text: str) -> None:
        """Writes ``report.md``, whole or not at all."""
        write_text(self.report, text, kind="report")

    def write_held_out(self, documents: Sequence[Spelling]) -> None:
        """Writes the held-out documents, whole or not at all."""
        save_held_out(documents, self.held_out)

    def read_held_out(self) -> list[Spelling]:
        """Returns the held-out documents of the run, as its alphabet spells them.

        Raises ``RunFolderError``, with the remedy, if the run is of a release that did not keep them, or if they are
        damaged.
        """
        remedy = "name a text to measure on with --text"
        try:
            return load_held_out(self.held_out)
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.path}: holds no held-out text ({self.held_out.name}); {remedy}") from error
        except ValueError as error:
            raise RunFolderError(f"{self.held_out}: damaged: {error}; {remedy}") from error
