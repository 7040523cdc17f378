"""Replicas of one server, each a process on a port of its own that outlasts it.

``failover`` kills, stops and restarts them. Processes are forked from one that has imported the server, because a
server that starts anew would spend a second and a half of a core on its imports.
Invariant: a replica that starts again has the address that it had before.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmarks.servers import free_port, wait_for_serving

_CONTEXT = multiprocessing.get_context("forkserver")
_PATIENCE = 60.0  # seconds to wait for a process that should end


class Replica:
    """One server. ``flags`` are options of ``nextchar-server``, and ``environment`` its variables."""

    def __init__(self, log: Path, flags: Sequence[str], environment: dict[str, str]) -> None:
        self.port = free_port()
        self._arguments = (log, [*flags, "--grpc-port", str(self.port)], environment)
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        """Starts the process, and returns before it serves."""
        self._process = _CONTEXT.Process(target=_serve, args=self._arguments, daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Waits until the replica serves. Raises ``RuntimeError`` if it ends instead."""
        while True:
            if not self.is_running:
                raise RuntimeError(f"the replica on port {self.port} ended; its log is {self._arguments[0]}")
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            time.sleep(0.005)
        wait_for_serving(self.port)

    @property
    def pid(self) -> int:
        """The identifier of the running process."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process hasn't ended, by itself or by force."""
        return self._process is not None and self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_PATIENCE)

    def terminate(self, patience: float) -> tuple[float, int | None]:
        """Sends SIGTERM, and returns the seconds until the process ended and its exit code.

        The code is None if the process still runs after ``patience`` seconds.
        """
        assert self._process is not None
        started = time.perf_counter()
        self._process.terminate()
        self._process.join(patience)
        return time.perf_counter() - started, self._process.exitcode


@contextmanager
def replicas(folder: Path, count: int, *flags: str) -> Iterator[list[Replica]]:
    """Runs ``count`` replicas that accept each other's resume tokens, and waits until all serve."""
    _CONTEXT.set_forkserver_preload(["nextchar_server.cli", __name__])
    environment = {"NEXTCHAR_TOKEN_KEY": secrets.token_hex(32)}
    fleet = [Replica(folder / "replicas.log", ["--lanes", "1", *flags], environment) for _ in range(count)]
    try:
        for replica in fleet:
            replica.start()
        for replica in fleet:
            replica.wait()
        yield fleet
    finally:
        for replica in fleet:
            replica.kill()


def _serve(log: Path, flags: Sequence[str], environment: dict[str, str]) -> None:
    """Becomes the command ``nextchar-server``, whose log is appended to ``log``."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.update(environment)
    http = [] if "--http-port" in flags else ["--http-port", "0"]
    sys.argv = ["nextchar-server", *http, *flags]
    from nextchar_server.__main__ import main

    main()
