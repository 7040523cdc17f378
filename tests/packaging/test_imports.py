"""What an import brings along: what serves and what calls needs no torch, and a base install no NumPy."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

HEAVY = {"torch", "onnx", "matplotlib", "pooch", "tensorboard"}


def modules_of(package: str) -> list[str]:
    """Names of ``package`` and of all its modules."""
    path = import_module(package).__path__
    found = [module.name for module in pkgutil.walk_packages(path, f"{package}.", onerror=lambda name: None)]
    return [package, *(name for name in found if not name.endswith("__main__"))]


def imported_by(*modules: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter holds after importing ``modules``."""
    script = (
        f"import json, sys, {', '.join(modules)}; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


@pytest.mark.parametrize(
    "package", ["nextchar", "nextchar_cli", "nextchar_model", "nextchar_server", "nextchar_client"]
)
def test_no_module_of_what_serves_and_calls_imports_torch_or_training(package: str) -> None:
    assert not imported_by(*modules_of(package)) & {*HEAVY, "nextchar_training"}


def test_no_module_of_the_client_imports_numpy_pydantic_the_model_or_the_server() -> None:
    heavy = {"numpy", "onnxruntime", "pydantic", "nextchar_server", "nextchar_model"}
    assert not imported_by(*modules_of("nextchar_client")) & heavy


def test_importing_the_training_package_imports_no_torch() -> None:
    assert not imported_by("nextchar_training", "nextchar_training.commands") & HEAVY


def test_this_test_sees_torch_if_a_module_imports_it() -> None:
    assert "torch" in imported_by("nextchar_training.learning.network")


@pytest.mark.parametrize(
    ("command", "arguments", "missing", "extra"),
    [
        ("nextchar_server", [], "uvloop", "server"),
        ("nextchar_training", ["compare", "run"], "numpy", "training"),
        ("nextchar_training", ["compare", "run"], "torch", "training"),
    ],
)
def test_a_command_without_its_extra_names_the_extra_in_one_line(
    command: str, arguments: list[str], missing: str, extra: str
) -> None:
    script = f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module({command!r}, run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"error: {missing} is not installed: pip install 'nextchar[{extra}]'")
