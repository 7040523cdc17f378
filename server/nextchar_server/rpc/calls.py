"""The calls that the server holds: their part of the memory budget, and an end for those that nobody reads to the end.

Surrounds the handling of each call, inside the interceptor. When a handler has returned, gRPC still has to send its
last words: an answer, the last message of a stream, a status. A caller that reads nothing would keep that, and the
call, for as long as its connection lives.

Invariant: a call holds memory from its start until nothing of it is left; the rest of a call, after its handler, is
gone after the stall time-out at the latest, sent or not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from .. import memory
from ..heap import Heap
from ..memory import Budget, Holding
from . import footprint
from .errors import RequestError
from .refusals import Refusals

_CHECKS = 8  # within a stall time-out

_Task = asyncio.Task[Any]


class Calls:
    """All calls of a server. Used on the event loop on which it was made."""

    def __init__(self, budget: Budget, *, stall_timeout: float) -> None:
        """``stall_timeout`` is in seconds."""
        self._budget = budget
        self._heap = Heap()
        self._refusals = Refusals()
        self._stall_timeout = stall_timeout
        self._loop = asyncio.get_running_loop()
        self._leaving: OrderedDict[_Task, float] = OrderedDict()  # handled, with the loop's time since, oldest first
        self._check: asyncio.TimerHandle | None = None
        self._parents: WeakKeyDictionary[_Task, _Task] = WeakKeyDictionary()
        self._loop.set_task_factory(self._make_task)

    @contextmanager
    def handling(self, connection: str) -> Iterator[Holding]:
        """Surrounds the handling of a call of ``connection``, in gRPC's task for it.

        Yields the memory of the call, which is ``memory.current`` meanwhile. Raises ``MemoryFullError`` if there is no
        memory for it.
        """
        task = asyncio.current_task()
        assert task is not None
        holding = self._budget.hold(connection, footprint.CALL)
        self._heap.hold(self._budget.used)
        token = memory.current.set(holding)

        def forget(task: _Task) -> None:
            self._leaving.pop(task, None)
            holding.release()
            self._heap.hold(self._budget.used)

        task.add_done_callback(forget)
        try:
            yield holding
        finally:
            memory.current.reset(token)
            self._leaving[task] = self._loop.time()
            if self._check is None:
                self._check = self._loop.call_later(self._stall_timeout / _CHECKS, self._reset_unread)

    async def pause(self, connection: str, refusal: RequestError, holding: Holding | None) -> None:
        """Waits before ``refusal``, if ``connection`` was refused often, and takes that off its delay.

        Nothing of the call is left then but the call itself, for which ``holding`` keeps its part.
        """
        if holding is not None:
            holding.shrink(footprint.CALL)
        if seconds := self._refusals.pause(connection, refusal.delay):
            await asyncio.sleep(seconds)
            refusal.tell(refusal.delay - seconds)

    def _reset_unread(self) -> None:
        """Resets the calls whose rest wasn't read in time."""
        latest = self._loop.time() - self._stall_timeout
        unread = []
        for task, since in self._leaving.items():
            if since > latest:
                break
            unread.append(task)
        for task in unread:
            del self._leaving[task]
            self.reset(task)
        again = self._stall_timeout / _CHECKS
        self._check = self._loop.call_later(again, self._reset_unread) if self._leaving else None

    def reset(self, task: _Task | None = None) -> None:
        """Ends a call without a status, by default the one that is being handled, whose handler has to end too.

        Its caller gets CANCELLED, and gRPC forgets the rest. gRPC has no method for that. It resets a call
        when nobody refers to it any more, and those who do are two tasks: that of the handler, and the one that made
        it and waits until the caller leaves.
        """
        if task is None:
            task = asyncio.current_task()
            assert task is not None
        else:
            task.cancel()
        if (parent := self._parents.pop(task, None)) is not None:
            parent.cancel()

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> _Task:
        task: _Task = asyncio.Task(coroutine, loop=loop, **options)
        if getattr(coroutine, "__name__", "") == "_handle_exceptions":  # of grpc.aio: the task of a handler
            parent = asyncio.current_task(loop)
            if parent is not None:
                self._parents[task] = parent
        return task
