"""Scrapes: whichever worker is asked for metrics, those of all are in the answer.

The supervisor asks every worker for its metrics, adds those of the workers that have ended and its own, and encodes the
sum. All scrapes that wait get the same one, which was collected after they came.

Invariant: a counter that was told never falls, whatever becomes of a worker; a worker that doesn't answer holds up no
scrape for longer than ``PATIENCE``; scrapes take a thirtieth of a core of each process at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from .merging import Merged, counted
from .messages import Collect, Collected, Encoded, Scrape
from .process import Worker

PATIENCE = 2.0
"""Seconds after which the last known metrics of a worker stand for those that it doesn't tell."""

_PAUSE = 29.0  # from the start of one collection to that of the next, in processor times of the slowest process


class Scrapes:
    """The scrapes of a server. Used in one thread."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        """``registry`` has the supervisor's own metrics; ``clock`` and ``worked`` return time and processor time."""
        self._registry = registry
        self._clock = clock
        self._worked = worked
        self._known: dict[Worker, list[Metric]] = {}
        self._past: list[Metric] = []  # of the workers that have ended
        self._asked: list[tuple[Worker, Scrape]] = []
        self._answered: list[tuple[Worker, Scrape]] = []  # by the present collection
        self._waiting: set[Worker] = set()  # for their metrics
        self._began = 0.0
        self._cost = 0.0
        self._earliest = 0.0

    @property
    def due(self) -> float | None:
        """The clock's time of the next call of ``proceed``; None if there is nothing to do."""
        if self._waiting:
            return self._began + PATIENCE
        return self._earliest if self._asked else None

    def ask(self, worker: Worker, scrape: Scrape) -> None:
        """Notes that ``worker`` has been asked."""
        self._asked.append((worker, scrape))

    def proceed(self, workers: set[Worker]) -> None:
        """Begins a collection from ``workers``, or ends the present one, if it is time."""
        if self.due is None or self._clock() < self.due:
            return
        if self._waiting:
            self._finish()
            return
        self._began, self._cost = self._clock(), 0.0
        self._asked, self._answered = [], self._asked
        self._waiting = set(workers)
        for worker in workers:
            worker.tell(Collect())

    def take(self, worker: Worker, collected: Collected) -> None:
        """Takes the metrics of ``worker``."""
        self._known[worker] = collected.metrics
        self._cost = max(self._cost, collected.seconds)
        self._expect_no_more_of(worker)

    def end(self, worker: Worker) -> None:
        """Keeps the counters of ``worker``, which has ended."""
        self._past = list(Merged([self._past, counted(self._known.pop(worker, []))]).collect())
        self._expect_no_more_of(worker)

    def _expect_no_more_of(self, worker: Worker) -> None:
        if worker in self._waiting:
            self._waiting.discard(worker)
            if not self._waiting:
                self._finish()

    def _finish(self) -> None:
        self._waiting.clear()
        worked = self._worked()
        bodies: dict[str, bytes] = {}
        for worker, scrape in self._answered:
            if scrape.accept not in bodies:
                encode, _ = choose_encoder(scrape.accept)
                merged = Merged([self._past, *self._known.values(), self._registry.collect()])
                bodies[scrape.accept] = encode(merged)
            worker.tell(Encoded(bodies[scrape.accept]))
        self._answered = []
        self._earliest = self._began + _PAUSE * max(self._cost, self._worked() - worked)
