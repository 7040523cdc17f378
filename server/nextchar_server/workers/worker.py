"""A worker: one server of a group, in a process that the supervisor started.

Invariant: signals of the system don't reach it, so that one that comes to all processes of a server, as from a terminal
or from systemd, counts once: the supervisor passes it on. When the supervisor is gone, the worker ends at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from .. import life, signals
from ..group import Group
from ..listening import StartError
from ..logs import logs
from .messages import Collect, Collected, Encoded, Failed, Loaded, Open, Opened, Reload, Scrape, Start, Stop

_LAST_LINES = 0.5  # seconds in which the last lines of the log are written at the exit

_log = structlog.get_logger()


def main(descriptor: int) -> int:
    """Serves until the supervisor says to stop, and returns the exit code. ``descriptor`` is that of the link."""
    link = Link(Connection(descriptor))
    start = link.begin()
    if start.cores:
        os.sched_setaffinity(0, start.cores)  # threads that are started later inherit it
    config = start.config
    logs.configure(config.log_level, config.log_format, worker=start.number, lock=start.lock)
    signals.say_with(_say_last)
    link.listen()
    group = Group(link.registry, start.token_keys, link.may_open, link.opened, link.gather)
    try:
        return life.run(config, group)
    except StartError as error:
        link.tell(Failed(str(error)))
        return 1
    except Exception:
        _log.exception("failed")
        return 1
    finally:
        logs.close(_LAST_LINES)


class Link:
    """The worker's end of the link to its supervisor."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.registry = CollectorRegistry()
        self._connection = connection
        self._telling = threading.Lock()
        self._may_open: Future[None] = Future()
        self._encoded: Future[bytes] = Future()  # of the scrape that waits

    def begin(self) -> Start:
        """Returns the first message."""
        start = self._connection.recv()
        assert isinstance(start, Start)
        return start

    def listen(self) -> None:
        """Starts the thread that hears the others."""
        threading.Thread(target=self._listen, name="link", daemon=True).start()

    def tell(self, message: object) -> None:
        """Sends ``message``. Any thread may call this."""
        with self._telling:
            self._connection.send(message)

    async def may_open(self) -> None:
        """Tells that all is loaded, and waits until the ports may be opened."""
        self.tell(Loaded())
        await asyncio.wrap_future(self._may_open)

    def opened(self, grpc_port: int, http_port: int) -> None:
        """Tells that the ports are open."""
        self.tell(Opened(grpc_port, http_port))

    async def gather(self, accept: str) -> bytes:
        """Returns the metrics of all workers in the form that ``accept`` names. One call at a time."""
        self._encoded = Future()
        self.tell(Scrape(accept))
        return await asyncio.wrap_future(self._encoded)

    def _listen(self) -> None:
        try:
            while True:
                self._hear(self._connection.recv())
        except (EOFError, OSError):
            _log.error("supervisor_gone", hint="its workers end with it")
            logs.close(signals.LAST_WORDS)
            os._exit(1)

    def _hear(self, message: object) -> None:
        match message:
            case Open():
                self._may_open.set_result(None)
            case Stop():
                signals.hear(signal.SIGTERM)
            case Reload():
                signals.reload()
            case Collect():
                self._collect()
            case Encoded(body):
                with suppress(InvalidStateError):  # nobody waits any more
                    self._encoded.set_result(body)

    def _collect(self) -> None:
        began = time.thread_time()
        metrics = list(self.registry.collect())
        self.tell(Collected(metrics, time.thread_time() - began))


def _say_last(event: str, **fields: str | int) -> None:
    _log.error(event, **fields)
    logs.close(signals.LAST_WORDS)
