"""The display: a training's progress on standard output.

Where standard output is a terminal, it is live: a bar, the losses, and the beginning of what the network writes now.
Where it is not, a line for every evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..data.dataset import Dataset
from ..data.summary import summarized
from ..learning.trainer import Progress

SAMPLE_CHARACTERS = 240
"""Characters of a sample: enough to see what the network knows by now."""

_SAMPLE_LINES = 6
_SETTLED = 10  # steps after which the speed tells how long it will take


class Display:
    """Shows each ``Progress`` that it is given. A context manager: what is live lives inside it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._validation_losses: list[float] = []
        self._sample: str | None = None
        self._expected: str | None = None

    @property
    def wants_sample(self) -> bool:
        """Whether anybody would see what the network writes now."""
        return self._console.is_terminal

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, progress: Progress, sample: str | None = None) -> None:
        """Shows where the training stands; ``sample`` is what the network writes now, where that is new."""
        if progress.validation_loss is not None:
            self._validation_losses.append(progress.validation_loss)
        self._sample = self._sample if sample is None else sample
        if self._expected is None and progress.step >= _SETTLED:
            epochs, seconds = progress.epoch / progress.fraction, round(progress.seconds / progress.fraction)
            self._expected = f"{epochs:.1f} epochs in {timedelta(seconds=seconds)}"
            if not self._console.is_terminal:
                print(f"expected: {self._expected}", flush=True)
        if self._console.is_terminal:
            self._live.update(self._view(progress), refresh=True)
        elif progress.validation_loss is not None:
            print(
                f"{progress.fraction:4.0%}  epoch {progress.epoch:.1f}  loss {progress.training_loss:.3f}  "
                f"validation {progress.validation_loss:.3f}  {_speed(progress)}  {_left(progress)} left",
                flush=True,
            )

    def _view(self, progress: Progress) -> Group:
        losses = self._validation_losses
        figures = Table.grid(padding=(0, 2))
        for name, value in (
            ("step", f"{progress.step:,}, epoch {progress.epoch:.1f}"),
            ("loss", f"{progress.training_loss:.4f} with dropout"),
            ("validation", f"{losses[-1]:.4f}, best {min(losses):.4f}" if losses else "not yet"),
            ("speed", _speed(progress)),
            ("expected", self._expected or "known in a moment"),
        ):
            figures.add_row(Text(name, style="dim"), value)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=progress.fraction, width=40),
            f"{progress.fraction:4.0%}",
            f"{_left(progress)} left",
        )
        if self._sample is None:
            return Group(bar, figures)
        text = Text("\n".join(self._sample.splitlines()[:_SAMPLE_LINES]), overflow="ellipsis", no_wrap=True)
        return Group(bar, figures, Panel(text, title="what it writes now", title_align="left", border_style="dim"))


def show_summary(dataset: Dataset, console: Console | None = None) -> None:
    """Shows what a training is about to read."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        print("\n".join(f"{name}: {value}" for name, value in summarized(dataset)), flush=True)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in summarized(dataset):
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(table)


@contextmanager
def preparing() -> Iterator[Callable[[str, float], None]]:
    """Shows how far the reading of a corpus is, where standard error is a terminal and it takes a while."""
    console = Console(stderr=True, highlight=False)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, fraction: bar.update(task, description=what, completed=fraction)


def _speed(progress: Progress) -> str:
    return f"{progress.characters / progress.seconds:,.0f} char/s"


def _left(progress: Progress) -> timedelta:
    return timedelta(seconds=round(progress.seconds * (1 / progress.fraction - 1)))
