"""The display: a training's progress on standard output.

A live bar where standard output is a terminal, a line for every evaluation where it is not.
"""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from nextchar_training.trainer import Progress


class Display:
    """Shows each ``Progress`` that it is given. A context manager: the bar lives inside it."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self._live = console.is_terminal
        columns = (BarColumn(bar_width=12), TaskProgressColumn(), TextColumn("{task.description}", style="none"))
        self._bar = Bar(*columns, console=console, disable=not self._live)  # fits into 80 columns
        self._task = self._bar.add_task("", total=1.0)
        self._validation_loss: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Shows where the training stands."""
        evaluated = progress.validation_loss is not None
        if evaluated:
            self._validation_loss = progress.validation_loss
        if not (self._live or evaluated):
            return
        validation = "-" if self._validation_loss is None else f"{self._validation_loss:.3f}"
        left = timedelta(seconds=round(progress.seconds * (1 / progress.fraction - 1)))
        text = (
            f"loss {progress.training_loss:.3f}  validation {validation}  "
            f"{progress.characters / progress.seconds:,.0f} char/s  {left} left"
        )
        if self._live:
            self._bar.update(self._task, completed=progress.fraction, description=text)
        else:
            print(f"{progress.fraction:4.0%}  epoch {progress.epoch:.1f}  {text}", flush=True)
