"""Servers under load: a server pinned to one core, and ``nextchar bench`` pinned to the other.

Servers that stream over HTTP get the same load from ``http_load``. Invariant: when the context of a server is left,
none of its processes runs any more.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]

_IDLE_TIME, _IDLE_USE = 0.5, 0.01  # a server that used fewer seconds of a processor in this time is idle

_PATIENCE = 60.0  # seconds to wait for a server or a load before giving up


@dataclass(frozen=True)
class Server:
    """A server's process."""

    process: subprocess.Popen[bytes]
    port: int
    seconds_to_serve: float
    """From the start of the process to the health service's SERVING, or to the open port if it has none."""
    dialect: str = ""
    """The dialect in which it streams over HTTP, see ``http_load``. Empty if it speaks gRPC."""
    alphabet: str = ""
    """The characters of prompts over HTTP. By gRPC, the load generator asks for them."""

    @property
    def pid(self) -> int:
        """The process's identifier."""
        return self.process.pid

    def terminate(self, patience: float) -> tuple[float, int | None]:
        """Sends SIGTERM, and returns the seconds until the process ended and its exit code.

        The code is None if the process still runs after ``patience`` seconds.
        """
        started = time.perf_counter()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        return time.perf_counter() - started, self.process.returncode

    @property
    def cpu_seconds(self) -> tuple[float, float]:
        """Seconds used so far by all threads, and by the main thread alone, in which the event loop runs."""
        return _used(self.pid), _used_by(Path(f"/proc/{self.pid}/task/{self.pid}"))

    @property
    def family_cpu_seconds(self) -> float:
        """Seconds used so far by this process and by all processes that it started and that still run."""
        return sum(_used(pid) for pid in _family(self.pid))

    def stop(self) -> None:
        """Halts all its processes, so that they take nothing from a server that is measured."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets all its processes run again."""
        os.killpg(self.pid, signal.SIGCONT)

    @property
    def memory(self) -> int:
        """Resident bytes now."""
        return self._status("VmRSS")

    @property
    def peak_memory(self) -> int:
        """Largest number of resident bytes since ``forget_peak``."""
        return self._status("VmHWM")

    def idle_memory(self) -> int:
        """Waits until the server is idle, and returns its resident bytes.

        When it begins to serve, it still prepares what first requests would wait for.
        """
        used = math.inf
        while used >= _IDLE_USE:
            before = self.cpu_seconds[0]
            time.sleep(_IDLE_TIME)
            used = self.cpu_seconds[0] - before
        return self.memory

    def forget_peak(self) -> None:
        """Resets the peak to the bytes resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _family(pid: int) -> list[int]:
    children = [int(one) for task in _tasks(pid) for one in (task / "children").read_text().split()]
    return [pid, *(one for child in children for one in _family(child))]


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _used(pid: int) -> float:
    return sum(_used_by(task) for task in _tasks(pid))


def _used_by(task: Path) -> float:
    """Returns the seconds of processor time of a thread."""
    return int((task / "schedstat").read_text().split()[0]) / 1e9


def free_port() -> int:
    """Returns a port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def served(
    folder: Path, *flags: str | Path, core: int | str = SERVER_CORE, python_path: str | None = None
) -> Iterator[Server]:
    """Runs ``nextchar-server`` with ``flags``, and waits until it serves. ``core`` may be several: "0,1".

    Another version of it runs if ``python_path`` names its packages.
    """
    command = ["-m", "nextchar_server", "--http-port", "0", *flags]
    with _running(folder, [*command, "--grpc-port"], core, has_health=True, python_path=python_path) as server:
        yield server


@contextmanager
def baseline(folder: Path, name: str, model: Path, *flags: str) -> Iterator[Server]:
    """Runs the baseline ``name`` with a checkpoint or a model file, and waits until it listens."""
    with _running(folder, ["-m", f"benchmarks.baselines.{name}", *flags, model], SERVER_CORE) as server:
        yield server


@contextmanager
def _running(
    folder: Path,
    arguments: Sequence[str | Path],
    core: int | str,
    *,
    has_health: bool = False,
    python_path: str | None = None,
) -> Iterator[Server]:
    port = free_port()
    environment = os.environ | ({} if python_path is None else {"PYTHONPATH": python_path})
    started = time.perf_counter()
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, *map(str, arguments), str(port)],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # so that the server and the processes that it starts form a group
        )
    try:
        _wait_for_port(process, port)
        if has_health:
            wait_for_serving(port)
        yield Server(process, port, time.perf_counter() - started)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {process.args!r}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.005)
        else:
            return
    raise TimeoutError(f"no port after {_PATIENCE} s: {process.args!r}")


def wait_for_serving(port: int) -> None:
    """Waits until the server on ``port`` of this machine says that it serves."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for answer in stub.Watch(health_pb2.HealthCheckRequest(), timeout=_PATIENCE):
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


class Load:
    """``nextchar bench`` with ``flags``, or its likeness for HTTP, started by the constructor."""

    def __init__(self, server: Server, core: int = LOAD_CORE, /, **flags: float) -> None:
        options = [str(text) for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", value)]
        command = ["nextchar_client", "bench", "--json", "--endpoint", f"127.0.0.1:{server.port}"]
        if server.dialect:
            command = ["benchmarks.http_load", server.dialect, str(server.port), server.alphabet]
        self._process = subprocess.Popen(
            # A shell without job control hides SIGINT from a command that it runs in the background.
            ["env", "--default-signal=INT", "taskset", "-c", str(core), sys.executable, "-m", *command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def report(self, patience: float = _PATIENCE, *, may_fail: bool = False) -> dict[str, Any]:
        """Waits for the load to end and returns its report.

        After ``patience`` seconds it is interrupted, and reports on the requests so far. Raises ``RuntimeError`` if a
        request failed, unless it ``may_fail``.
        """
        try:
            out, complaints = self._process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGINT)
            out, complaints = self._process.communicate(timeout=_PATIENCE)
        if not out:
            raise RuntimeError(f"the load generator measured nothing: {complaints.strip()}")
        report: dict[str, Any] = json.loads(out)
        if report["failed"] and not may_fail:
            raise RuntimeError(f"requests failed: {report['errors']}")
        return report
