"""The reading: a teacher reads a text, and its distributions go to a file.

Each thread reads a batch of stretches at a time with the teacher's own graph, so the teacher is as fast as on a server,
and all cores work. Memory doesn't grow with the text.

Invariant: the same teacher and text make the same bytes on one machine, whatever the number of threads: a row's results
depend on that row alone.

Shapes: K ids at a time, B stretches, N ids of a distribution.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait

import numpy as np

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import SamplingSettings
from nextchar_model.runner import Runner

from ..data.distributions import DistributionWriter, Form
from ..data.ids import IdSequence
from .stretches import Stretch, batches

_VALUES = 2**20  # log-probabilities that a thread holds at a time
_AHEAD = 2  # batches per thread that wait or are read


class Reading:
    """A teacher that reads a text."""

    def __init__(self, teacher: Runner, form: Form, writer: DistributionWriter) -> None:
        self._teacher, self._form, self._writer = teacher, form, writer
        self._stop = threading.Event()

    def read(self, ids: IdSequence, show: Callable[[float], None], threads: int | None = None) -> float:
        """Writes the distributions of all ``ids``, and returns the mean mass of those N that are kept by name.

        ``threads`` read, by default as many as this process may use cores. ``show`` hears the fraction that is done.
        Raises ``OSError`` if they can't be written.
        """
        threads = threads or _cores()
        done, mass = 0, 0.0
        with ThreadPoolExecutor(threads, thread_name_prefix="teacher") as pool:
            try:
                for kept, mass_of_some in self._results(pool, ids, _AHEAD * threads):
                    done, mass = done + kept, mass + mass_of_some
                    show(done / len(ids))
            except BaseException:
                self._stop.set()  # so that Ctrl-C doesn't wait for whole batches
                pool.shutdown(cancel_futures=True)
                raise
        return mass / max(len(ids), 1)

    def _results(self, pool: ThreadPoolExecutor, ids: IdSequence, most: int) -> Iterator[tuple[int, float]]:
        """Yields the results of all batches as they end; at most ``most`` of them are in memory."""
        waiting: set[Future[tuple[int, float]]] = set()
        for batch in batches(ids):
            waiting.add(pool.submit(self._read, batch))
            if len(waiting) == most:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in ended)
        yield from (one.result() for one in as_completed(waiting))

    def _read(self, batch: list[Stretch]) -> tuple[int, float]:
        """Reads some stretches. Returns the number of ids that are kept, and the mass of those N at all of them."""
        lengths = [len(stretch.ids) for stretch in batch]
        B, N = len(batch), self._form.listed
        padded = np.full((max(lengths), B), BOUNDARY, np.int64)
        for row, stretch in enumerate(batch):
            padded[: lengths[row], row] = stretch.ids
        rows = self._teacher.start([SamplingSettings(begins=False)] * B)
        rows.last_id = np.array([stretch.before for stretch in batch], np.int64)
        K, mass = max(1, _VALUES // (B * N)), 0.0
        for first in range(0, len(padded), K):
            if self._stop.is_set():
                break
            forced = padded[first : first + K]
            steps = self._teacher.advance(rows, forced, np.zeros(forced.shape, np.float32), alternatives=N)
            content = self._form.encode(steps.top_ids, steps.top_logprobs)  # (K, B, size)
            for row, stretch in enumerate(batch):
                begin, end = max(first, stretch.skipped), min(first + K, lengths[row])
                if begin < end:
                    kept = slice(begin - first, end - first)
                    self._writer.write(stretch.place + begin - stretch.skipped, content[kept, row])
                    if not self._form.is_whole:
                        mass += float(np.exp(steps.top_logprobs[kept, row], dtype=np.float64).sum())
        kept_ids = sum(lengths) - sum(stretch.skipped for stretch in batch)
        return kept_ids, float(kept_ids) if self._form.is_whole else mass


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
