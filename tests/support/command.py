"""The command ``nextchar``, in the test's own process or in one of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from nextchar_client.commands import main

COMMAND = [sys.executable, "-m", "nextchar_client"]
"""Starts the command as a process, for tests of signals, pipes and terminals."""

Run = Callable[..., tuple[int, str, str]]
"""Runs the command with arguments and returns its exit code, standard output and standard error."""


def runner(captured: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the command in this process; ``captured`` is the fixture ``capfdbinary``."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        output, errors = captured.readouterr()
        return code, output.decode(), errors.decode()

    return run
