"""The terminal's view of a training, on standard output.

A terminal shows it live: a bar, the losses, and the network's latest text. Otherwise every evaluation is a line.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nextchar_cli.printable import printable

from ..data.dataset import Dataset
from ..data.summary import summarized
from ..learning.progress import Progress
from .ledger import Update
from .teachers import Lessons

_SAMPLE_LINES = 6
_SETTLED = 10  # steps after which the speed tells how long the training will take
_LEAST_BUSY = 0.5  # of the time of each thread
_SECONDS_STARVED = 20.0  # until it is said


class TerminalReporter:
    """Shows every update. Use it as a context manager: the live view ends when it is left."""

    def __init__(
        self, console: Console | None = None, *, threads: int = 1, lines: bool = False, minutes: float | None = None
    ) -> None:
        """Shows a training by ``threads`` on the processor.

        ``lines`` says whether its documents are lines; ``minutes`` are its budget, if that is a time.
        """
        self._threads = threads
        self._lines = lines
        self._minutes = minutes
        self._console = console or plain_console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._validation_loss: float | None = None
        self._sample: str | None = None
        self._expected: str | None = None
        self._fed_at = 0.0  # seconds of the training when the threads last had the processor for themselves
        self._told_starved = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def report(self, update: Update) -> None:
        """Shows where the training stands, on a terminal with a new sample after every evaluation."""
        progress = update.progress
        is_first = self._expected is None and progress.step >= _SETTLED
        if is_first or update.row is not None:
            seconds = self._seconds_in_all(progress)
            epochs = progress.epoch * seconds / progress.seconds
            self._expected = f"{epochs:.1f} epochs in {timedelta(seconds=round(seconds))}"
        if is_first and not self._console.is_terminal:
            print(f"expected: {self._expected}", flush=True)
        self._watch_processor(progress)
        if self._console.is_terminal:
            if update.row is not None:
                self._validation_loss, self._sample = update.row.validation_loss, update.sample
            self._live.update(self._view(update), refresh=True)
        elif update.row is not None:
            print(
                f"{progress.fraction:4.0%}  epoch {update.epoch:.1f}  loss {progress.training_loss:.3f}  "
                f"validation {update.row.validation_loss:.3f} nats per character  "
                f"{_speed(progress)}  {self._left(progress)} left",
                flush=True,
            )

    def _seconds_in_all(self, progress: Progress) -> float:
        """The time that the training takes from start to end, as far as can be told now."""
        if progress.fraction >= 1:
            return progress.seconds
        if self._minutes is not None:  # the fraction is from before an evaluation, the seconds from after it
            return max(60 * self._minutes, progress.seconds)
        return progress.seconds / progress.fraction

    def _left(self, progress: Progress) -> timedelta:
        return timedelta(seconds=round(self._seconds_in_all(progress) - progress.seconds))

    def _watch_processor(self, progress: Progress) -> None:
        """Says once if the training's threads have to share the processor with other work for a while."""
        if self._threads == 1 or self._told_starved:
            return
        if progress.busy >= _LEAST_BUSY or self._fed_at == 0.0:
            self._fed_at = progress.seconds
        elif progress.seconds > self._fed_at + _SECONDS_STARVED and _is_crowded():
            self._told_starved = True
            message = (
                f"the processor is busy with other work: each of {self._threads} threads has it "
                f"{progress.busy:.0%} of the time; fewer --threads would be faster"
            )
            if self._console.is_terminal:
                self._console.print(message)  # above the live view
            else:
                print(message, flush=True)

    def _view(self, update: Update) -> Group:
        progress = update.progress
        validation = "not yet"
        if self._validation_loss is not None:
            validation = f"{self._validation_loss:.4f} nats per character, best {update.best_loss:.4f}"
        figures = Table.grid(padding=(0, 2))
        for name, value in (
            ("step", f"{update.step:,}, epoch {update.epoch:.1f}"),
            ("loss", f"{progress.training_loss:.4f} nats per character, with dropout"),
            ("validation", validation),
            ("speed", _speed(progress)),
            ("expected", self._expected or "known in a moment"),
        ):
            figures.add_row(Text(name, style="dim"), value)
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=1.0, completed=progress.fraction, width=40),
            f"{progress.fraction:4.0%}",
            f"{self._left(progress)} left",
        )
        # A terminal echoes Ctrl-C where the cursor is. The empty last line takes the echo: at the end of a full line it
        # would wrap, and the view would be drawn a second time a line below.
        end = Text("")
        if self._sample is None:
            return Group(bar, figures, end)
        lines = [printable(line.expandtabs(4)) for line in self._sample.splitlines()]
        columns = _columns(lines, self._console.width - 4) if self._lines else 1  # 4: of the frame
        sample = Table.grid(padding=(0, 2, 0, 0))
        for first in range(0, min(len(lines), columns * _SAMPLE_LINES), columns):
            row = lines[first : first + columns]
            sample.add_row(*(Text(line, overflow="ellipsis", no_wrap=True) for line in row))
        panel = Panel(sample, title="a sample of its text now", title_align="left", border_style="dim")
        return Group(bar, figures, panel, end)


def plain_console(*, stderr: bool = False) -> Console:
    """Returns a console that shows names as they are: square brackets and colons in them have no meaning."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def tell(text: str, console: Console | None = None) -> None:
    """Prints a sentence, on a terminal without a line break inside a word."""
    console = console or plain_console()
    if console.is_terminal:
        console.print(Text(text))
    else:
        print(text, flush=True)


def show_summary(dataset: Dataset, lessons: Lessons | None = None, console: Console | None = None) -> None:
    """Shows the dataset that a training is about to read, and its teachers if it has any."""
    console = console or plain_console()
    lines = summarized(dataset) + ([] if lessons is None else lessons.summary)
    if not console.is_terminal:
        print("\n".join(f"{name}: {value}" for name, value in lines), flush=True)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in lines:
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    console.print(table)


@contextmanager
def preparing() -> Iterator[Callable[[str, float], None]]:
    """Shows a bar while a corpus is read, on standard error if that is a terminal."""
    with _bar("") as show:
        yield show


@contextmanager
def evaluating(text: str) -> Iterator[Callable[[float], None]]:
    """Says that an evaluation runs on ``text``, and shows a bar if standard error is a terminal."""
    print(f"evaluating the best checkpoint on {text}", flush=True)
    with _bar("evaluating") as show:
        yield lambda fraction: show("evaluating", fraction)


@contextmanager
def _bar(task: str) -> Iterator[Callable[[str, float], None]]:
    """A progress bar that disappears at the end. Yields a function of the current task and the fraction done."""
    console = plain_console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        number = bar.add_task(task, total=1.0)
        yield lambda name, fraction: bar.update(number, description=name, completed=fraction)


def _is_crowded() -> bool:
    """Whether more threads want to run than there are cores. If not, those of the training wait for each other."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def _columns(lines: list[str], width: int) -> int:
    """In how many columns to show ``lines``: as few as bring all of them into view, if they are short enough."""
    widest = max(map(cell_len, lines), default=0)
    return max(1, min(math.ceil(len(lines) / _SAMPLE_LINES), (width + 2) // (widest + 2)))


def _speed(progress: Progress) -> str:
    return f"{progress.characters / progress.seconds:,.0f} characters/s"
