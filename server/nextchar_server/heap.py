"""The heap: gives memory that calls no longer hold back to the operating system.

glibc keeps freed memory for the program's next use. After a burst of calls that would be most of the budget, for as
long as the process lives, and another program, or the limit of a container, would count it as in use.

Invariant: at most one trim per ``PAUSE``, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

LEAST = 16 * 2**20
"""Bytes that must have been given back since the last trim: less isn't worth one."""

PAUSE = 2.0
"""Seconds from then to the trim, so that one serves all calls that end together. A trim takes some 30 ms."""


class Heap:
    """Trims the heap of the process when calls hold much less than they did. Used on one event loop."""

    def __init__(self, trim: Callable[[], object] | None = None) -> None:
        """``trim`` runs in a thread. Default: glibc's ``malloc_trim``; nothing with other libraries."""
        self._trim = trim or _trim_of_libc()
        self._most = 0  # since the last trim
        self._pending = False

    def hold(self, used: int) -> None:
        """Notes that calls hold ``used`` bytes now."""
        if used >= self._most:
            self._most = used
        elif self._most - used >= LEAST and not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_later(PAUSE, self._run)

    def _run(self) -> None:
        self._pending = False
        self._most = 0
        asyncio.get_running_loop().run_in_executor(None, self._trim)


def trim() -> None:
    """Returns all memory that is free now to the system. Takes some 30 ms."""
    _trim_of_libc()()


def _trim_of_libc() -> Callable[[], object]:
    if sys.platform != "linux":
        return lambda: None
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # musl
        return lambda: None
    return lambda: malloc_trim(0)
