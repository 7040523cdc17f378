"""The command as a process: its messages and exit codes, and how it starts. How it ends: ``test_shutdown``."""

import os
import socket
import subprocess
from pathlib import Path

from tests.support.server_process import COMMAND, started
from tests.support.tiny_model import TinyModel


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


# Actions.


def test_a_check_opens_no_port_and_its_exit_code_says_whether_all_is_good(tiny: TinyModel, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        completed = run("--check", "--grpc-port", str(taken.getsockname()[1]), "--model", tiny.int8)
    assert completed.returncode == 0
    assert [line.partition(": good: ")[0] for line in completed.stdout.splitlines()] == ["token keys", "model int8"]
    assert completed.stderr == ""
    completed = run("--check", "--model", tmp_path / "none.onnx")
    assert completed.returncode == 1
    assert completed.stdout.endswith(f"{tmp_path / 'none.onnx'}: can't be read: No such file or directory\n")


def test_the_printed_configuration_is_served(tiny: TinyModel, tmp_path: Path) -> None:
    file = tmp_path / "nextchar.toml"
    file.write_text(run("--model", tiny.int8, "--print-config").stdout)
    with started("--config", file) as server:
        assert server.events["model_loaded"]["model"] == tiny.int8.stem


# Running.


def test_a_variable_that_nothing_reads_is_logged(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, NEXTCHAR_COLOUR="red") as server:
        assert server.events["unknown_variable"]["level"] == "warning"
        assert server.events["unknown_variable"]["variable"] == "NEXTCHAR_COLOUR"


def test_a_path_with_a_comma_is_served_by_the_option(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "a,b.onnx"
    path.write_bytes(tiny.int8.read_bytes())
    with started("--model", path) as server:
        assert server.events["model_loaded"]["model"] == "a,b"
