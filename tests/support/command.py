"""The command ``nextchar``, in the test's own process or in one of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from nextchar_client.commands import main

COMMAND = [sys.executable, "-m", "nextchar_client"]
"""Starts the command as a process, for tests of signals, pipes and terminals."""

Run = Callable[..., tuple[int, str, str]]
"""Runs the command with arguments and returns its exit code, standard output and standard error."""


@contextmanager
def running(command: Sequence[str], *, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a pipe as standard output. At the end it is killed, so that no test that fails waits for it."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


def on_a_terminal(*arguments: str, columns: int = 80) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of the command; the output is a terminal ``columns`` wide."""
    ours, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns)}
    ended = subprocess.run(
        [*COMMAND, *arguments], stdout=terminal, stderr=subprocess.PIPE, env=environment, timeout=120
    )
    os.close(terminal)
    output = b""
    try:
        while more := os.read(ours, 1000):
            output += more
    except OSError:  # Linux: the terminal is closed, and all that was written has been read
        pass
    os.close(ours)
    return ended.returncode, output, ended.stderr


def runner(captured: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the command in this process; ``captured`` is the fixture ``capfdbinary``."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        output, errors = captured.readouterr()
        return code, output.decode(), errors.decode()

    return run
