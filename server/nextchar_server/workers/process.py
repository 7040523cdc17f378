"""A worker's process, as the supervisor has it: started, written to, listened to, and noticed when it ends.

Invariant: a worker ends when its supervisor does, because its link then ends; the link is inherited by that worker
alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from . import VARIABLE
from .messages import Start


class Worker:
    """The process of one worker."""

    def __init__(self, start: Start, hear: Callable[[Worker, object], object]) -> None:
        """Starts it. ``hear`` gets each message of the worker, and its exit code at last, in a thread.

        A negative code is the signal that ended it. The process is a new program, not a copy of this one: threads and
        the locks that they hold don't survive a copy.
        """
        self.number = start.number
        self._link, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nextchar_server"],
                env={**os.environ, "PYTHONPATH": _path(), VARIABLE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(), start.lock),
                stdin=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
        self.tell(start)
        threading.Thread(target=self._listen, args=(hear,), name=f"worker {self.number}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def tell(self, message: object) -> None:
        """Sends ``message``; to a process that has ended, nothing."""
        with suppress(OSError):
            self._link.send(message)

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def wait(self) -> None:
        """Waits until the process has ended."""
        self._process.wait()

    def _listen(self, hear: Callable[[Worker, object], object]) -> None:
        for message in _messages(self._link):
            hear(self, message)
        hear(self, self._process.wait())


def _messages(link: Connection[Any, Any]) -> Any:
    """Yields all messages until the link ends."""
    with suppress(EOFError, OSError):
        while True:
            yield link.recv()


def _path() -> str:
    """Returns the places from which this process imports, so that the worker finds the same."""
    return os.pathsep.join(filter(None, sys.path))
