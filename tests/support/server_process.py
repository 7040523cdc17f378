"""The command ``nextchar-server`` as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "nextchar_server"]

PATIENCE = 120.0
"""Seconds to wait for a process that should end."""


@dataclass(frozen=True)
class ServerProcess:
    """A server that serves."""

    process: subprocess.Popen[str]
    events: dict[str, dict[str, Any]]
    """What it logged until it served, by the name of the event."""

    @property
    def grpc_port(self) -> int:
        """The port of gRPC."""
        port: int = self.events["serving"]["grpc_port"]
        return port

    @property
    def http_port(self) -> int:
        """The port of HTTP."""
        port: int = self.events["serving"]["http_port"]
        return port

    def ended(self, number: int) -> tuple[int, list[str]]:
        """Sends a signal, and returns the exit code and the events that were logged since."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, [json.loads(line)["event"] for line in log.splitlines()]


@contextmanager
def started(
    *options: str | Path, command: Sequence[str] = COMMAND, files: int | None = None, **environment: str
) -> Iterator[ServerProcess]:
    """Starts a server on free ports, and waits until it serves. ``files`` is its limit of open files."""
    limit = ["prlimit", f"--nofile={files}:{files}"] if files is not None else []
    process = subprocess.Popen(
        [*limit, *command, "--grpc-port", "0", "--http-port", "0", *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    events: dict[str, dict[str, Any]] = {}
    try:
        for line in process.stderr:
            event = json.loads(line)  # every line of the log is JSON
            events[event["event"]] = event
            if event["event"] == "serving":
                break
        yield ServerProcess(process, events)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
