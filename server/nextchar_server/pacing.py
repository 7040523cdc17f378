"""The pacer: heavy pieces of work on the event loop, one at a time and at most a quarter of it.

Everything that a server does for its callers on the event loop shares one thread. Most of it is small: a message of an
ordinary stream takes some 50 µs. Work whose cost grows with a request goes through here in pieces instead, so that it
can't hold up the others: parsing a large message, spelling a long prompt, building messages with log-probabilities.

Invariant: pieces run one after another, first come, first served. Each is followed by a pause of three times its own
processor time, in which the loop serves everybody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import TypeVar, cast

Result = TypeVar("Result")

Steps = Generator[None, None, Result]
"""Work in steps of bounded cost: yields between them, and returns the result."""

PAUSE = 3
"""Length of the pause after a piece, in processor times of the piece, unless a pacer has another one."""

_GRACE = 1e-3
"""Longest pause, in seconds, that may stay owed, because a timer can't wait for less. The next piece owes it too."""


class Pacer:
    """Paces the heavy pieces of one event loop. A server has one, for all callers and models together.

    Another one is for the credentials of strangers, who must not keep callers waiting.
    """

    def __init__(self, *, pause: float = PAUSE, clock: Callable[[], float] = time.thread_time) -> None:
        """``clock`` measures the processor time of the loop's thread, in seconds."""
        self._pause = pause
        self._clock = clock
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._free_at = 0.0  # loop time at which the pause of the latest piece ends

    @asynccontextmanager
    async def piece(self, *, spent: float = 0.0) -> AsyncIterator[None]:
        """Waits for a turn, then surrounds one piece.

        A piece takes about 2 ms at most and holds no other piece. It awaits nothing; only in a pacer of work in threads
        it awaits its thread. ``spent`` is the processor time that it has cost elsewhere, in seconds; the pause counts
        it too.
        """
        loop = asyncio.get_running_loop()
        async with self._turn:
            owed = self._free_at - loop.time()
            await asyncio.sleep(owed if owed > _GRACE else 0)
            started = self._clock()
            try:
                yield
            finally:
                spent += self._clock() - started
                self._free_at = max(self._free_at, loop.time()) + self._pause * spent

    async def run(self, steps: Steps[Result]) -> Result:
        """Returns the result of ``steps``. The first one is small and taken at once, each later one is a piece."""
        try:
            next(steps)
        except StopIteration as end:
            return cast("Result", end.value)
        while True:
            async with self.piece():
                try:
                    next(steps)
                except StopIteration as end:
                    return cast("Result", end.value)
