"""Compilations: the automata of constraints, made beside the event loop and kept for later requests.

``constraints`` says what to compile. Connections take turns: each has a queue of its own.

Invariant: nothing is compiled on the event loop; one automaton is compiled at a time, in a third of a core at most in
the long run; a bounded number waits, shared among connections like the places of the admission; whom nobody waits for
any more is not compiled; the kept automata take at most ``KEPT_BYTES``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nextchar_model.constraints.automaton import Automaton
from nextchar_model.constraints.boundaries import Boundary
from nextchar_model.constraints.compiler import prepare
from nextchar_model.constraints.work import ConstraintError

from .errors import OverloadedError

KEPT_BYTES = 64 * 2**20
"""Most bytes of the automata that are kept for later requests."""

MOST_WAITING = 64
"""Most automata that wait to be compiled."""

_SHARE = 1 / 3  # of a core, for compilations
_BURST = 3.0  # seconds whose share may be taken at once
_DELAY = 0.5, 1.5  # seconds after which a refused caller tries again
_OVERHEAD = 1000  # bytes of an entry beside its tables

Key = tuple[str, str, bytes]
"""Digest of the model, name of the field, and digest of its texts."""

Result = Automaton | Boundary | ConstraintError
"""An automaton, or the reason why it was refused."""


@dataclass(eq=False)
class _Job:
    """An automaton that somebody waits for."""

    compile_: Callable[[], Automaton | Boundary]
    done: dict[str, asyncio.Future[Result]] = field(default_factory=dict)
    """By connection."""
    calls: Counter[str] = field(default_factory=Counter)
    """How many calls of each connection wait."""


class Compilations:
    """The compilations of one server. Used on the event loop."""

    def __init__(self, count: Callable[[Key, str], None]) -> None:
        """``count`` is told each key that was ``kept``, ``compiled`` or ``refused``."""
        self._count = count
        self._thread = ThreadPoolExecutor(1, "constraints")
        self._thread.submit(prepare)
        self._paid = 0.0  # ``time.monotonic()`` up to which compilations have used up their share
        self._kept: OrderedDict[Key, Result] = OrderedDict()
        self._used = 0
        self._jobs: dict[Key, _Job] = {}
        self._queues: OrderedDict[str, OrderedDict[Key, None]] = (
            OrderedDict()
        )  # by connection, whose turn is next first
        self._worker: asyncio.Task[None] | None = None

    async def result(self, key: Key, compile_: Callable[[], Automaton | Boundary], connection: str) -> Result:
        """Returns the automaton of ``key``, kept or made by ``compile_``, or the error with which it is refused.

        Raises ``OverloadedError`` if ``connection`` has more that wait than others, and no more may.
        """
        if (kept := self._kept.get(key)) is not None:
            self._count(key, "kept")
            self._kept.move_to_end(key)
            return kept
        job = self._jobs.get(key)
        if job is None:
            self._make_room(connection)
            job = self._jobs[key] = _Job(compile_)
            self._queues.setdefault(connection, OrderedDict())[key] = None
        elif connection not in job.done and any(key in queue for queue in self._queues.values()):
            self._queues.setdefault(connection, OrderedDict())[key] = None
        loop = asyncio.get_running_loop()
        done = job.done.setdefault(connection, loop.create_future())
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        job.calls[connection] += 1
        try:
            return await asyncio.shield(done)
        finally:
            job.calls[connection] -= 1
            if not job.calls[connection] and job.done.get(connection) is done:
                self._leave(key, job, connection)

    def _make_room(self, connection: str) -> None:
        """Lets one more of ``connection`` wait: those who have more that wait lose their latest ones."""
        while len(self._jobs) >= MOST_WAITING:
            greedy = max(self._queues, key=lambda name: len(self._queues[name]), default="")
            own = len(self._queues.get(connection, ()))
            error = OverloadedError(f"{MOST_WAITING} constraints wait to be compiled", random.uniform(*_DELAY))  # noqa: S311 - no secret
            if len(self._queues.get(greedy, ())) <= own + 1:
                raise error
            key = next(reversed(self._queues[greedy]))
            done = self._jobs[key].done[greedy]
            self._leave(key, self._jobs[key], greedy)
            done.set_exception(error)

    def _leave(self, key: Key, job: _Job, connection: str) -> None:
        """Forgets that ``connection`` waits for ``job``, and ``job`` if nobody else does and it hasn't begun."""
        del job.done[connection]
        was_queued = self._unqueue(key, connection)
        if not job.done and was_queued:
            del self._jobs[key]

    def _unqueue(self, key: Key, connection: str) -> bool:
        queue = self._queues.get(connection)
        if queue is None or key not in queue:
            return False
        del queue[key]
        if not queue:
            del self._queues[connection]
        return True

    async def _work(self) -> None:
        """Compiles the automata that wait, one of each connection in turn, with a rest if the share is used up."""
        loop = asyncio.get_running_loop()
        try:
            while self._queues:
                if (rest := self._paid - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
                    continue
                connection = next(iter(self._queues))
                self._queues.move_to_end(connection)
                key = next(iter(self._queues[connection]))
                job = self._jobs[key]
                for name in job.done:
                    self._unqueue(key, name)
                try:
                    result, seconds = await loop.run_in_executor(self._thread, _compiled, job.compile_)
                except Exception as error:  # a bug, of which each call tells
                    self._tell(key, lambda done, error=error: done.set_exception(error))  # type: ignore[misc]
                    continue
                self._paid = max(self._paid, time.monotonic() - _BURST) + seconds / _SHARE
                self._keep(key, result)
                self._tell(key, lambda done, result=result: done.set_result(result))  # type: ignore[misc]
        finally:
            self._worker = None

    def _tell(self, key: Key, tell: Callable[[asyncio.Future[Result]], None]) -> None:
        for done in self._jobs.pop(key).done.values():
            tell(done)

    def _keep(self, key: Key, result: Result) -> None:
        self._count(key, "refused" if isinstance(result, ConstraintError) else "compiled")
        if (size := _size(result)) <= KEPT_BYTES:
            self._kept[key] = result
            self._used += size
        while self._used > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._used -= _size(dropped)


def _compiled(compile_: Callable[[], Automaton | Boundary]) -> tuple[Result, float]:
    """Compiles in the thread; returns the result and the processor time that it took, in seconds."""
    began = time.thread_time()
    try:
        return compile_(), time.thread_time() - began
    except ConstraintError as error:
        return ConstraintError(*error.args), time.thread_time() - began  # without the frames


def _size(result: Result) -> int:
    return _OVERHEAD + (0 if isinstance(result, ConstraintError) else result.size)
