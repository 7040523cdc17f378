"""The command as a process: what it says, how it starts and stops."""

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


def run(*flags: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


@contextmanager
def started(*flags: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The running command, and what it logged when it began to serve."""
    process = subprocess.Popen(
        [*COMMAND, "--grpc-port", "0", "--http-port", "0", *map(str, flags)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            event = json.loads(line)  # every line of the log is JSON
            if event["event"] == "serving":
                break
        yield process, event
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def one_line(completed: subprocess.CompletedProcess[str]) -> str:
    """The only line on standard error."""
    (line,) = completed.stderr.splitlines()
    return line


def test_a_missing_model_is_told_in_one_line(tmp_path: Path) -> None:
    completed = run("--model", tmp_path / "none.onnx")
    assert completed.returncode == 1
    assert one_line(completed) == (
        f"nextchar-server: error: {tmp_path / 'none.onnx'}: cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_model_is_told_in_one_line(tiny: TinyModel, tmp_path: Path, keep: float) -> None:
    content = tiny.int8.read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    completed = run("--model", path)
    assert completed.returncode == 1
    assert one_line(completed).startswith(f"nextchar-server: error: {path}: not a readable ONNX file")


def test_cuda_without_a_cuda_build_is_told_with_the_remedy(tiny: TinyModel) -> None:
    completed = run("--model", tiny.fp32, "--provider", "cuda")
    assert completed.returncode == 1
    assert "has no CUDA provider" in one_line(completed)
    assert "nextchar[server-cuda]" in one_line(completed)


def test_cuda_with_an_int8_model_is_told_with_the_remedy(tiny: TinyModel) -> None:
    completed = run("--model", tiny.int8, "--provider", "cuda")
    assert completed.returncode == 1
    assert "--precision fp32" in one_line(completed)


@pytest.mark.parametrize("flag", ["--grpc-port", "--http-port"])
def test_a_port_in_use_is_told_in_one_line(tiny: TinyModel, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = {"--grpc-port": "0", "--http-port": "0", flag: str(port)}
        completed = run(
            "--model", tiny.int8, "--log-level", "error", *(part for pair in flags.items() for part in pair)
        )
    assert completed.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in completed.stderr.splitlines()[-1]
    assert "Traceback" not in completed.stderr


def test_a_wrong_flag_and_a_wrong_variable_are_named(tiny: TinyModel) -> None:
    by_flag = run("--model", tiny.int8, "--grpc-port", "99999")
    by_variable = run("--model", tiny.int8, NEXTCHAR_LANES="none")
    assert by_flag.returncode == by_variable.returncode == 2
    assert one_line(by_flag).startswith("nextchar-server: error: --grpc-port: ")
    assert one_line(by_variable).startswith("nextchar-server: error: --lanes: ")


def test_a_flag_that_does_not_exist_is_refused() -> None:
    completed = run("--bogus")
    assert completed.returncode == 2
    assert "--bogus" in completed.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(tiny: TinyModel, number: signal.Signals) -> None:
    with started("--model", tiny.int8) as (process, serving):
        with grpc.insecure_channel(f"127.0.0.1:{serving['grpc_port']}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
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
        process, serving = running
        with grpc.insecure_channel(f"127.0.0.1:{serving['grpc_port']}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            parameters = pb.GenerationParameters(max_characters=endless)
            call = stub.GenerateStream(pb.GenerateStreamRequest(parameters=parameters))
            next(call)
            process.send_signal(number)
            for line in process.stderr:
                if json.loads(line)["event"] == "draining":
                    break
            process.send_signal(number)
            *_, last = call
        assert last.finished.finish_reason == pb.FINISH_REASON_DRAINING
        assert process.wait(timeout=30) == 0


def test_every_flag_is_explained() -> None:
    completed = run("--help")
    assert completed.returncode == 0
    for name in ("--model", "--grpc-port", "--http-port", "--provider", "--lanes", "--drain-timeout", "--max-batch"):
        assert name in completed.stdout
