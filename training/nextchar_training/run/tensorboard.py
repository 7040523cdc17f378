"""TensorBoard's view of a training: losses, speed and samples, in a file beside the run's others."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from .ledger import Update
from .report import fenced

_PERIOD = 20  # steps at least between two points of a training curve


class TensorBoardReporter:
    """Writes every update to TensorBoard's file. Use it as a context manager: leaving it completes the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._points = 0  # periods that have their point

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def report(self, update: Update) -> None:
        """Adds the losses, the learning rate and the speed, and at an evaluation a sample."""
        progress = update.progress
        if self._writer is None:
            # If a killed run wrote points beyond the step from which it is resumed, TensorBoard hides them.
            self._writer = SummaryWriter(self._folder, purge_step=update.step)
            self._points = (update.step - 1) // _PERIOD
        if update.row is not None or update.step // _PERIOD > self._points:
            self._points = update.step // _PERIOD
            scalars = {
                "loss/training": progress.training_loss,
                "learning_rate": progress.learning_rate,
                "characters_per_second": progress.characters / progress.seconds,
            }
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, update.step)
        if update.row is not None:
            self._writer.add_scalar("loss/validation", update.row.validation_loss, update.step)
            if update.sample is not None:
                self._writer.add_text("sample", fenced(update.sample), update.step)
