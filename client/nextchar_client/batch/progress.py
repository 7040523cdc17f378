"""The progress of a batch as people see it: a line on a terminal while it runs, and a summary at its end.

Beside the work, whose counts it reads. Invariant: nothing is written to standard output, and nothing at all to a
standard error that is no terminal.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from .work import Work

_REFRESH_SECONDS = 0.5
_BAR = 12  # columns, so that the line fits 80


class Watch:
    """The clock of ``work``, which starts now, perhaps half-way."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._began = time.monotonic()
        progress = work.progress
        self._lines, self._characters, self._done = progress.lines, progress.characters, work.done

    @property
    def seconds(self) -> float:
        """Time since the start, in seconds; never 0."""
        return max(time.monotonic() - self._began, 1e-9)

    @property
    def rates(self) -> tuple[float, float]:
        """Lines and characters per second."""
        progress = self._work.progress
        return (progress.lines - self._lines) / self.seconds, (progress.characters - self._characters) / self.seconds

    def line(self) -> str:
        """How far the work is, how fast, and how long it will take."""
        work, (lines, _) = self._work, self.rates
        grown = work.done - self._done
        left = "" if not grown else f", {timedelta(seconds=round(self.seconds * (1 - work.done) / grown))} left"
        rejected = f", {work.progress.rejected:,} rejected" if work.progress.rejected else ""
        return f"{work.progress.lines:,} of {work.whole:,} lines, {lines:,.0f} lines/s{left}{rejected}"

    def summary(self) -> str:
        """The lines, the time that they took, and the rejected texts by reason."""
        progress, (lines, characters) = self._work.progress, self.rates
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in progress.rejects.most_common())
        before = f" ({self._lines:,} of them before)" if self._lines else ""
        return (
            f"{progress.lines:,} lines{before} in {self.seconds:,.1f} s, {lines:,.0f} lines/s, "
            f"{characters:,.0f} characters/s; rejected {progress.rejected:,}{f' ({reasons})' if reasons else ''}"
        )


@asynccontextmanager
async def shown(watch: Watch, work: Work) -> AsyncGenerator[None, None]:
    """Shows the progress on a terminal while the body runs."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def picture() -> Table:
        table = Table.grid(padding=(0, 1))
        text = Text(f"{work.done:4.0%} {watch.line()}", overflow="ellipsis", no_wrap=True)
        table.add_row(ProgressBar(total=1.0, completed=work.done, width=_BAR), text)
        return table

    async def refresh() -> None:
        while True:
            live.update(picture(), refresh=True)
            await asyncio.sleep(_REFRESH_SECONDS)

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False) as live:
        showing = asyncio.create_task(refresh())
        try:
            yield
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing
