"""The work of a batch: from the plan through source and filters to the records that are kept.

Invariant: the progress counts exactly the texts up to the last record that was handed out, so the next run can begin
behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from .filters import Filters
from .job import Job
from .plan import Requests, Samples, bounds
from .record import Record
from .source import Made, Source
from .state import Progress


class RejectedError(Exception):
    """Too many texts were rejected; the message says why."""


class Work:
    """The work that is left of ``job`` after ``progress``, which it keeps up to date."""

    def __init__(
        self, job: Job, plan: Samples | Requests, source: Source, filters: Filters, progress: Progress
    ) -> None:
        self._plan, self._source, self._filters, self.progress = plan, source, filters, progress
        self._start, self._stop, self._wanted = bounds(job, plan)
        self._start = max(self._start, progress.number)
        self.whole = self._wanted or (self._stop or 0) - bounds(job, plan)[0]
        """Lines to keep; if texts may be left out, the most."""
        self._most_rejects = job.most_rejects(self.whole)

    @property
    def done(self) -> float:
        """The part that is done, 0 to 1."""
        done = self.progress.lines if self._wanted is not None else self.progress.lines + self.progress.rejected
        return done / self.whole if self.whole else 1.0

    async def records(self) -> AsyncGenerator[list[Record], None]:
        """Yields the records, some at a time. Raises ``RejectedError`` if too many texts are rejected."""
        if self._is_enough:
            return
        progress = self.progress
        if progress.rejected > self._most_rejects:  # a command that failed, and is repeated
            raise RejectedError(self._complaint())
        async with aclosing(self._source.texts(self._plan.blocks(self._start, self._stop))) as texts:
            async for made in texts:
                kept = self._judged(made)
                yield kept
                if progress.rejected > self._most_rejects:
                    raise RejectedError(self._complaint())
                if self._is_enough:
                    return

    def _judged(self, made: Sequence[Made]) -> list[Record]:
        """The records of ``made`` that are kept, up to the last one that is wanted."""
        progress, judge = self.progress, self._filters.judge
        rejects_left = self._most_rejects - progress.rejected
        lines_left = len(made) if self._wanted is None else self._wanted - progress.lines
        kept: list[Record] = []
        for each in made:
            record = judge(each)
            progress.characters += len(each.text)
            if isinstance(record, Record):
                kept.append(record)
            else:
                progress.rejects[record] += 1
                rejects_left -= 1
            if len(kept) == lines_left or rejects_left < 0:
                break
        progress.number = each.number + 1
        progress.lines += len(kept)
        return kept

    @property
    def _is_enough(self) -> bool:
        return self._wanted is not None and self.progress.lines >= self._wanted

    def _complaint(self) -> str:
        (reason, count), *_ = self.progress.rejects.most_common(1)
        return (
            f"{self.progress.rejected:,} texts were rejected, {self.progress.lines:,} kept; most often by {reason} "
            f"({count:,}): change the options, or allow more with --max-rejects"
        )
