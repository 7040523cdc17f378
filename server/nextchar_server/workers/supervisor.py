"""The supervisor: starts the workers of a server, keeps them running, and ends them together.

Called by ``cli`` if there are several workers. It loads no model and serves nobody: one thread handles all that
happens, in order.

Invariant: no port is open before all workers have loaded; a worker that can't start ends the server with one message as
long as none serves, and otherwise is tried again; when the supervisor ends, no worker is left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from .. import signals
from ..listening import StartError
from ..logs import logs
from ..metrics import WorkerMetrics
from ..rpc.token_keys import load_keys, log_keys
from ..settings.config import Config
from ..shares import LEAST_BUDGET, Share
from .messages import Collected, Failed, Loaded, Open, Opened, Reload, Scrape, Start, Stop
from .ports import hold
from .process import Worker
from .scrapes import Scrapes

MARGIN = 0.5
"""Seconds that the supervisor waits for a worker beyond the time in which that one has to end."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a worker that ended is started again: the first time, and after many times in a row."""

STEADY = 60.0
"""Seconds after which a worker that serves counts as one that never ended."""

_log = structlog.get_logger()


def supervise(config: Config, parts: Sequence[Share]) -> int:
    """Runs a worker for each of ``parts`` until a signal, and returns the exit code: the worst of the workers'.

    Raises ``StartError`` if they can't start.
    """
    if sys.platform != "linux":
        raise StartError("--workers: several workers need Linux, which spreads connections over them; leave it out")
    keys = load_keys(config.token_key_file, os.environ)
    with ExitStack() as held:
        grpc_port = hold(config.host, config.grpc_port, "gRPC", held)
        http_port = hold(config.host, config.http_port, "HTTP", held)
        own = replace(part_of(config, len(parts)), grpc_port=grpc_port, http_port=http_port)
        lock = logs.share()
        starts = [
            Start(number, replace(own, lanes=config.lanes or part.lanes), keys, part.cores, lock)
            for number, part in enumerate(parts)
        ]
        return Supervisor(config, starts).run()


def part_of(config: Config, workers: int) -> Config:
    """Returns the configuration of one of ``workers`` workers: limits of the whole server are divided among them.

    A limit that isn't 0 stays above 0.
    """
    return replace(
        config,
        workers=1,
        memory_budget=max(LEAST_BUDGET, config.memory_budget // workers),
        prefix_cache=-(-config.prefix_cache // workers),
        queue_size=-(-config.queue_size // workers),
    )


@dataclass
class _Place:
    """The place of a worker, which has one process after another."""

    start: Start
    worker: Worker | None = None
    has_loaded: bool = False
    serves_since: float | None = None
    starts_at: float | None = None
    """When its next process is started; None unless the last one has ended."""
    pauses: int = 0
    """Processes in a row that ended before they were steady."""
    failure: str = ""
    """Why its process can't start, as it says itself."""


class Supervisor:
    """The workers of a server. Used in one thread."""

    def __init__(self, config: Config, starts: Sequence[Start]) -> None:
        self._config = config
        self._places = [_Place(start) for start in starts]
        self._happened: SimpleQueue[tuple[Worker | None, object]] = SimpleQueue()
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._metrics = WorkerMetrics(registry)
        self._metrics.serving.set_function(lambda: len(self._serving))
        self._scrapes = Scrapes(registry)
        self._may_open = False
        self._has_served = False
        self._stops = False
        self._code = 0

    def run(self) -> int:
        """Runs the workers until all have ended after a signal, and returns the worst of their exit codes.

        Raises ``StartError`` if one can't start while none serves.
        """
        try:
            for place in self._places:
                self._start(place)
            while not self._stops or any(place.worker for place in self._places):
                worker, message = self._next()
                if worker is not None:
                    self._hear(worker, message)
                elif isinstance(message, Stop):
                    self._stop()
                elif isinstance(message, Reload):
                    self._tell(Reload())
                self._proceed()
        finally:
            for place in self._places:
                if place.worker is not None:
                    place.worker.kill()
                    place.worker.wait()
        _log.info("stopped")
        return self._code

    @property
    def _serving(self) -> set[Worker]:
        return {place.worker for place in self._places if place.worker and place.serves_since is not None}

    def _tell(self, message: object) -> None:
        for place in self._places:
            if place.worker is not None:
                place.worker.tell(message)

    def _next(self) -> tuple[Worker | None, object]:
        """Returns a worker and its message; without a worker, a signal, or None if something is due."""
        due = [place.starts_at for place in self._places if place.starts_at is not None]
        if self._scrapes.due is not None:
            due.append(self._scrapes.due)
        try:
            return self._happened.get(timeout=max(0.0, min(due) - time.monotonic()) if due else None)
        except Empty:
            return None, None

    def _proceed(self) -> None:
        """Does all that is due."""
        for place in self._places:
            if place.starts_at is not None and place.starts_at <= time.monotonic():
                self._metrics.restarts.inc()
                self._start(place)
        self._scrapes.proceed(self._serving)

    def _start(self, place: _Place) -> None:
        place.starts_at, place.failure = None, ""
        try:
            place.worker = Worker(place.start, lambda worker, message: self._happened.put((worker, message)))
        except OSError as error:  # such as too many processes
            self._try_again(place, None, f"can't be started: {error.strerror}")

    def _hear(self, worker: Worker, message: object) -> None:
        place = self._places[worker.number]
        match message:
            case Loaded():
                place.has_loaded = True
                self._open(worker)
            case Opened(grpc_port, http_port):
                place.serves_since = time.monotonic()
                self._serve(worker, grpc_port, http_port)
            case Failed(reason):
                place.failure = reason
            case Scrape():
                self._scrapes.ask(worker, message)
            case Collected():
                self._scrapes.take(worker, message)
            case int(code):
                self._end(place, worker, code)

    def _open(self, worker: Worker) -> None:
        """Lets all workers open their ports once they have loaded, and later ones at once."""
        if self._may_open:
            worker.tell(Open())
        elif all(place.has_loaded for place in self._places):
            self._may_open = True
            self._tell(Open())

    def _serve(self, worker: Worker, grpc_port: int, http_port: int) -> None:
        """Says that the server serves, once all workers do."""
        if self._has_served:
            _log.info("worker_restarted", worker=worker.number)
            return
        if len(self._serving) < len(self._places):
            return
        self._has_served = True
        config = self._config
        log_keys(self._places[0].start.token_keys, config.token_key_file, os.environ)
        signals.reload_on(lambda: self._happened.put((None, Reload())))
        signals.drain_on(
            lambda: self._happened.put((None, Stop())),
            lambda: self._happened.put((None, Stop())),
            config.lame_duck + config.drain_timeout,
            margin=signals.MARGIN + MARGIN,
        )
        _log.info(
            "serving",
            host=config.host,
            grpc_port=grpc_port,
            http_port=http_port,
            tls=config.certificate_files is not None,
            workers=len(self._places),
        )

    def _stop(self) -> None:
        """Passes a signal to stop on; the second one hurries the workers."""
        self._stops = True
        for place in self._places:
            place.starts_at = None
            if place.worker is not None and place.serves_since is not None:
                place.worker.tell(Stop())
            elif place.worker is not None:
                place.worker.kill()

    def _end(self, place: _Place, worker: Worker, code: int) -> None:
        """Handles the end of a process; a negative ``code`` is the signal that ended it."""
        served, place.worker, place.serves_since = place.serves_since, None, None
        self._scrapes.end(worker)
        if self._stops:
            if served is not None:
                self._code = max(self._code, code if code >= 0 else 128 - code)
            return
        how = f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"
        self._try_again(place, served, place.failure or f"ended with {how}")

    def _try_again(self, place: _Place, served: float | None, reason: str) -> None:
        """Lets a worker, which has ``served`` since then, be started again. Raises ``StartError`` if that is no use."""
        number = place.start.number
        if served is None and not (self._has_served and self._serving):
            raise StartError(place.failure or f"worker {number} {reason}")
        if served is not None and time.monotonic() - served >= STEADY:
            place.pauses = 0
        pause = min(FIRST_PAUSE * 2**place.pauses, LONGEST_PAUSE)
        place.pauses += 1
        place.starts_at = time.monotonic() + pause
        _log.error("worker_ended", worker=number, reason=reason, hint=f"it is started again in {pause:g} s")
