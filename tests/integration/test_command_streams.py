"""The command's standard streams: closed, full, or without a reader."""

import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "nextchar_server"]


def run(redirection: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a shell with ``redirection``, and returns its own exit code."""
    script = f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_has_seen_enough_is_no_reason_to_complain(reader: str) -> None:
    completed = run(f"| {reader}", "--help")
    assert (completed.returncode, completed.stderr) == (141, "")


def test_a_full_disk_is_one_line() -> None:
    completed = run("> /dev/full", "--version")
    assert completed.returncode == 1
    assert completed.stderr == "nextchar-server: error: the output can't be written: No space left on device\n"


@pytest.mark.parametrize(
    ("redirection", "options", "code"),
    [
        ("2> /dev/full", ["--lanes", "x"], 2),
        ("2>&1 > /dev/null | true", ["--lanes", "x"], 2),
        ("2>&-", ["--lanes", "x"], 2),
        ("<&- >&- 2>&-", ["--model", "none.onnx"], 1),
        ("2> /dev/full", ["--model", "none.onnx"], 1),
    ],
)
def test_a_message_that_cannot_be_written_leaves_the_exit_code(redirection: str, options: list[str], code: int) -> None:
    completed = run(redirection, "--grpc-port", "0", "--http-port", "0", *options)
    assert (completed.returncode, completed.stdout) == (code, "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_need_nothing_of_the_environment(option: str) -> None:
    completed = run(
        "<&-",
        option,
        **{"HOME": "/nonexistent", "USER": "", "LOGNAME": "", "TERM": "dumb", "TZ": "Nowhere/Nothing"},
        **{"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        **{"COLUMNS": "0", "PYTHONOPTIMIZE": "2"},
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "nextchar" in completed.stdout
