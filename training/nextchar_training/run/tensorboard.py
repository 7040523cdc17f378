"""The board: a training's progress as TensorBoard reads it, beside the run's other files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from ..learning.trainer import Progress

_EVERY = 20  # steps from one point to the next of what every step has, or a little more


class Board:
    """Writes each ``Progress`` that it is given. A context manager: its file is complete when it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._points = 0  # so many times ``_EVERY`` steps have their point

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def show(self, progress: Progress, sample: str | None = None) -> None:
        """Adds where the training stands, and what the network writes now."""
        if self._writer is None:
            # What a killed run wrote beyond the step from which this one goes on is hidden.
            self._writer = SummaryWriter(self._folder, purge_step=progress.step)
            self._points = (progress.step - 1) // _EVERY
        evaluated = progress.validation_loss is not None
        if evaluated or progress.step // _EVERY > self._points:
            self._points = progress.step // _EVERY
            scalars = {
                "loss/training": progress.training_loss,
                "learning_rate": progress.learning_rate,
                "characters_per_second": progress.characters / progress.seconds,
            }
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, progress.step)
        if evaluated:
            self._writer.add_scalar("loss/validation", progress.validation_loss, progress.step)
        if sample is not None:
            self._writer.add_text("sample", f"```\n{sample}\n```", progress.step)
