"""What an import brings along: the server is free of torch, the client of NumPy, so that an install is small."""

import json
import subprocess
import sys

import pytest

SERVER = ("nextchar_server.cli", "nextchar_server.server", "nextchar_server.rpc.service", "nextchar_model.runner")
CLIENT = ("nextchar_client", "nextchar_client.commands.command", "nextchar.v1.generation_pb2_grpc")


def imported(module: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has after ``import module``."""
    script = (
        f"import json, sys, {module}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


@pytest.mark.parametrize("module", [*SERVER, *CLIENT])
def test_what_serves_and_what_calls_is_free_of_torch(module: str) -> None:
    assert not imported(module) & {"torch", "onnx", "matplotlib", "pooch"}


@pytest.mark.parametrize("module", CLIENT)
def test_the_client_is_free_of_numpy_and_of_the_server(module: str) -> None:
    assert not imported(module) & {"numpy", "onnxruntime", "nextchar_server", "nextchar_training", "pydantic"}


def test_the_options_of_a_training_are_read_without_torch() -> None:
    assert not imported("nextchar_training.commands.options") & {"torch", "onnx", "onnxruntime", "matplotlib"}


def test_modules_that_need_torch_are_seen_by_this_test() -> None:
    assert "torch" in imported("nextchar_training.learning.network")


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("nextchar_server.entry", "uvloop", "server"),
        ("nextchar_training.commands.entry", "numpy", "training"),
        ("nextchar_training.commands.entry", "torch", "training"),
    ],
)
def test_a_command_without_its_extra_says_in_one_line_which_brings_it(module: str, missing: str, extra: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import {module} as entry; entry.main()"
    command = [sys.executable, "-c", script, *(["compare", "run"] if extra == "training" else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"error: {missing} is not installed; pip install 'nextchar[{extra}]' brings it")
