"""The command ``nextchar-server`` as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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

    @property
    def workers(self) -> list[int]:
        """The numbers of the processes of its workers, if it has several."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                _, _, fields = stat.read_text().rpartition(")")
                state, parent = fields.split()[:2]
                if state != "Z":
                    parents[int(stat.parent.name)] = int(parent)
        return sorted(pid for pid, parent in parents.items() if parent == self.process.pid)

    def next(self, *events: str) -> dict[str, Any]:
        """Waits for the next line of the log with one of these events, and returns it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if (fields := json.loads(line))["event"] in events:
                return dict(fields)
        raise AssertionError(f"the server ended before {' or '.join(events)}")

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
