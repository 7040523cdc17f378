"""A log that can't be written: calls, health and the end of the server are as if it could."""

import fcntl
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.logs.lines import DROPPED
from tests.support.tiny_model import TinyModel

CALLS = 40  # whose lines fill the smallest pipe twice
ENOUGH = 60.0  # seconds for any step on a busy machine


@dataclass
class Command:
    """The command as a process."""

    process: subprocess.Popen[bytes]
    grpc_port: int
    http_port: int

    def call(self) -> None:
        """Generates ``CALLS`` texts and asks for the health."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            for _ in range(CALLS):
                request = pb.GenerateRequest(parameters=pb.GenerationParameters(max_characters=5))
                assert len(stub.Generate(request, timeout=ENOUGH).text) == 5
            health = health_pb2_grpc.HealthStub(channel)
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=ENOUGH).status
            assert status == health_pb2.HealthCheckResponse.SERVING

    def drops(self, lines: int) -> None:
        """Waits until the metric of dropped lines is ``lines``: a line is written a moment after its call."""
        until = time.monotonic() + ENOUGH
        while (dropped := self._metric("nextchar_log_dropped_total")) != lines and time.monotonic() < until:
            time.sleep(0.05)
        assert dropped == lines

    def _metric(self, wanted: str) -> float:
        url = f"http://127.0.0.1:{self.http_port}/metrics"
        text = build_opener(ProxyHandler({})).open(url, timeout=ENOUGH).read().decode()
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == wanted)

    def end(self) -> int:
        """Sends SIGTERM and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=ENOUGH)


@contextmanager
def command(model: Path, log: int | None, *, port: int = 0, redirection: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Starts the command with ``log`` as its standard error."""
    arguments = [sys.executable, "-m", "nextchar_server", "--model", str(model), "--lanes", "1"]
    ports = ["--grpc-port", str(port), "--http-port", "0"]
    shell = ["bash", "-c", f'exec "$@" {redirection}', "bash", *arguments, *ports]
    process = subprocess.Popen(shell, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def serving(process: subprocess.Popen[bytes], read: Callable[[], str]) -> Command:
    """Waits until the line ``serving`` can be read."""
    until = time.monotonic() + ENOUGH
    while time.monotonic() < until:
        for line in read().splitlines():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "serving":
                return Command(process, event["grpc_port"], event["http_port"])
        time.sleep(0.05)
    raise AssertionError("the server doesn't serve")


def read_some(descriptor: int) -> Callable[[], str]:
    """Returns a function that returns all that was read from ``descriptor`` so far, in whole lines."""
    content = b""

    def read() -> str:
        nonlocal content
        content += os.read(descriptor, 4096)
        return content.rpartition(b"\n")[0].decode()

    return read


@pytest.mark.parametrize("trouble", ["the reader leaves", "nobody reads"])
def test_a_pipe_without_a_reader_changes_nothing_else(tiny: TinyModel, trouble: str) -> None:
    reader, log = os.pipe()
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
    with command(tiny.int8, log) as process:
        running = serving(process, read_some(reader))
        os.close(log)
        if trouble == "the reader leaves":
            os.close(reader)
        running.call()
        if trouble == "the reader leaves":
            running.drops(CALLS)
        assert running.end() == 0
    if trouble == "nobody reads":
        os.close(reader)


def test_a_full_disk_changes_nothing_else_and_the_next_line_tells_of_it(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log, command(tiny.int8, log.fileno()) as process:
        running = serving(process, path.read_text)
        size = path.stat().st_size
        room = 100  # less than a line, so the first one is cut
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
        running.call()
        running.drops(CALLS)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        running.call()
        assert running.end() == 0
    lines = path.read_bytes()[size:].splitlines()
    told = [json.loads(line) for line in lines if DROPPED.encode() in line]
    assert [event["lines"] for event in told] == [CALLS]
    assert [line for line in lines[1:] if not isinstance(json.loads(line), dict)] == []


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-", "<&- >&- 2>&-"])
def test_a_log_that_was_never_there_changes_nothing_else(tiny: TinyModel, redirection: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # the server can't tell of one that it chooses
    with command(tiny.int8, None, port=port, redirection=redirection) as process:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=ENOUGH)
        running = Command(process, port, 0)
        running.call()
        assert running.end() == 0


def test_no_line_is_anything_but_json_whatever_callers_send(tiny: TinyModel) -> None:
    reader, log = os.pipe()
    with command(tiny.int8, log) as process:
        os.close(log)
        read = read_some(reader)
        running = serving(process, read)
        for port in (running.grpc_port, running.http_port):
            for data in (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01",
                b"\0" * 1000,
                b"\xff\r\n\r\n",
            ):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1000)
        running.call()
        assert running.end() == 0
        content = b""
        while more := os.read(reader, 65536):
            content += more
    os.close(reader)
    assert all(isinstance(json.loads(line), dict) for line in content.splitlines())
