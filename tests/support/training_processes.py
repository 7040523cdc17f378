"""Trainings in processes of their own, forked from one that has imported torch, which takes longer than they do."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from nextchar_training import commands

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "nextchar_training.commands.fit",
        "nextchar_training.commands.resume",
        "torch._dynamo",  # the optimizer imports it when it is first used
        "torch.distributed",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
    ]
)


def _train(arguments: Sequence[str], output: Connection, errors: Connection) -> None:
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    output.close()
    errors.close()
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc] # noqa: SIM115 - for good
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.exit(commands.main(arguments))


class TrainingProcess:
    """``nextchar-train`` as a process: its own signals, limits and standard streams, which are pipes.

    Has the methods of ``subprocess.Popen`` that tests need. As a context manager, kills the process at the end.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._output, output = _SERVER.Pipe(duplex=False)
        self._errors, errors = _SERVER.Pipe(duplex=False)
        self._process = _SERVER.Process(target=_train, args=(list(arguments), output, errors))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.returncode: int | None = None
        """The exit code, minus the number of the signal that killed the process, or None if it runs."""
        output.close()
        errors.close()
        self.stdout = open(self._output.fileno(), closefd=False)  # noqa: SIM115 - closed by __exit__
        self._stderr = open(self._errors.fileno(), closefd=False)  # noqa: SIM115

    def send_signal(self, number: int) -> None:
        """Sends the signal ``number``."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process."""
        self._process.kill()

    def communicate(self) -> tuple[str, str]:
        """Waits for the end, and returns the rest of standard output, and standard error."""
        written = self.stdout.read(), self._stderr.read()  # its errors are short: a full pipe would stop the process
        self._wait()
        return written

    def _wait(self) -> None:
        self._process.join()
        self.returncode = self._process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.returncode is None:
            self._process.kill()
            self._wait()
        self._process.close()
        for stream in (self.stdout, self._stderr, self._output, self._errors):
            stream.close()
