"""The command as a process: its messages and exit codes, how it starts and stops."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from tests.support.tiny_model import TinyModel

COMMAND = [sys.executable, "-m", "nextchar_server"]


def run(*options: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, on free ports unless the options say otherwise."""
    return subprocess.run(
        [*COMMAND, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NEXTCHAR_GRPC_PORT": "0", "NEXTCHAR_HTTP_PORT": "0", **environment},
        check=False,
    )


@contextmanager
def started(
    *options: str | Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, dict[str, Any]]]]:
    """Starts the command. Returns its process, and the events that it logged until it was serving, by name."""
    process = subprocess.Popen(
        [*COMMAND, "--grpc-port", "0", "--http-port", "0", *map(str, options)],
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
        yield process, events
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def complaint(completed: subprocess.CompletedProcess[str]) -> str:
    """Returns the error message, the only line of the output."""
    (line,) = completed.stderr.splitlines()
    assert completed.stdout == ""
    assert line.startswith("nextchar-server: error: ")
    return line.removeprefix("nextchar-server: error: ")


# Mistakes.


def test_a_missing_model_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    completed = run("--model", path)
    assert completed.returncode == 1
    assert complaint(completed) == f"{path}: can't be read: No such file or directory"


def test_a_checkpoint_is_refused_with_the_command_that_exports_it() -> None:
    path = Path("tests/compatibility/best.pt")
    completed = run("--model", path)
    assert completed.returncode == 1
    assert "export it first: nextchar-train export" in complaint(completed)


def test_a_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    completed = run("--model", tmp_path)
    assert completed.returncode == 1
    assert complaint(completed).startswith(f"{tmp_path} is a folder, not a model file")


def test_a_truncated_model_is_reported_in_one_line(tiny: TinyModel, tmp_path: Path) -> None:
    content = tiny.int8.read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: len(content) // 2])
    completed = run("--model", path)
    assert completed.returncode == 1
    assert str(path) in complaint(completed)


def test_a_path_that_a_variable_split_at_its_comma_is_reported_with_the_remedy(tmp_path: Path) -> None:
    completed = run(NEXTCHAR_MODEL=str(tmp_path / "a,b.onnx"))
    assert completed.returncode == 1
    assert complaint(completed).startswith(f"{tmp_path / 'a'}: can't be read: No such file or directory")
    assert complaint(completed).endswith("NEXTCHAR_MODEL is split at commas: use --model for a path with a comma")


def test_cuda_without_a_cuda_build_is_reported_with_the_remedy(tiny: TinyModel) -> None:
    completed = run("--model", tiny.fp32, "--provider", "cuda")
    assert completed.returncode == 1
    assert "has no CUDA provider" in complaint(completed)
    assert "nextchar[server-cuda]" in complaint(completed)


def test_cuda_with_an_int8_model_is_reported_with_the_remedy(tiny: TinyModel) -> None:
    completed = run("--model", tiny.int8, "--provider", "cuda")
    assert completed.returncode == 1
    assert "--precision fp32" in complaint(completed)


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        completed = run("--grpc-port", str(port))
    assert completed.returncode == 1
    assert complaint(completed).startswith(f"cannot listen on 127.0.0.1:{port} for gRPC: the port is in use")


def test_a_wrong_option_and_a_wrong_variable_are_named() -> None:
    by_option = run("--grpc-port", "99999")
    by_variable = run(NEXTCHAR_LANES="none")
    assert by_option.returncode == by_variable.returncode == 2
    assert complaint(by_option).startswith("--grpc-port: ")
    assert complaint(by_variable).startswith("NEXTCHAR_LANES: ")


# Running.


def test_a_variable_that_nothing_reads_is_logged(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, NEXTCHAR_COLOUR="red") as (_, events):
        assert events["unknown_variable"]["level"] == "warning"
        assert events["unknown_variable"]["variable"] == "NEXTCHAR_COLOUR"


def test_a_path_with_a_comma_is_served_by_the_option(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "a,b.onnx"
    path.write_bytes(tiny.int8.read_bytes())
    with started("--model", path) as (_, events):
        assert events["model_loaded"]["model"] == "a,b"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(tiny: TinyModel, number: signal.Signals) -> None:
    with started("--model", tiny.int8) as (process, logged):
        with grpc.insecure_channel(f"127.0.0.1:{logged['serving']['grpc_port']}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            parameters = pb.GenerationParameters(max_characters=20_000)
            call = stub.GenerateStream(pb.GenerateStreamRequest(parameters=parameters))
            events = [next(call)]
            process.send_signal(number)
            events += call
        assert sum(len(event.delta.text) for event in events) == 20_000
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_running_streams_at_once_and_in_order(tiny: TinyModel, number: signal.Signals) -> None:
    endless = 2**31 - 1
    with started("--model", tiny.int8, "--max-characters", str(endless), "--drain-timeout", "600") as running:
        process, logged = running
        with grpc.insecure_channel(f"127.0.0.1:{logged['serving']['grpc_port']}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            parameters = pb.GenerationParameters(max_characters=endless)
            call = stub.GenerateStream(pb.GenerateStreamRequest(parameters=parameters))
            next(call)
            process.send_signal(number)
            assert process.stderr is not None
            for line in process.stderr:
                if json.loads(line)["event"] == "draining":
                    break
            process.send_signal(number)
            *_, last = call
        assert last.finished.finish_reason == pb.FINISH_REASON_DRAINING
        assert process.wait(timeout=30) == 0
