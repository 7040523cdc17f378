"""The engine: continuous batching of one model's streams.

Stands between the service, which makes streams on the event loop, and the runner, which advances batches. Joins the
admission and the lanes. Knows ids and states, never text.

Invariant: a stream whose reader takes nothing for the stall time-out ends, and its row, its place and its outbox are
free at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nextchar_model.alphabet import Ids
from nextchar_model.runner import Runner

from ..pacing import Pacer
from .admission import Admission, StalledError
from .lane import Lane
from .prefixes import Prefixes
from .prompts import Prompts
from .search import Search
from .searcher import MOST_SEARCHES, Searcher
from .snapshot import Snapshot
from .stream import End, IdChunk, Stream, wake

_T = TypeVar("_T")

_CHECKS = 8  # for stalled readers, within a stall time-out


class Engine:
    """Lanes over one runner. All methods run on the event loop on which the engine was made."""

    def __init__(
        self,
        runner: Runner,
        *,
        lanes: int,
        max_batch: int,
        queue_size: int,
        turn_budget: float,
        stall_timeout: float = 60.0,
        prefix_cache: int = 0,
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        """Starts ``lanes`` threads with batches of at most ``max_batch`` rows; ``queue_size`` more streams may wait.

        A turn takes about ``turn_budget`` seconds. A stream ends if its reader takes nothing for ``stall_timeout``
        seconds. The states after prompts take ``prefix_cache`` bytes at most. After each turn, the lane's thread calls
        ``observe`` with the number of rows and the seconds per step.
        """
        self.admission = Admission(lanes=lanes, max_batch=max_batch, queue_size=queue_size, on_push=self._break_off)
        self.most_active = lanes * max_batch
        """Most streams that are in a batch at once."""
        self.most_waiting = queue_size
        """Most streams that wait for that."""
        self.prefixes = Prefixes(prefix_cache)
        """The cache of the states after prompts."""
        loop = asyncio.get_running_loop()
        self.searches = Admission(lanes=1, max_batch=MOST_SEARCHES, queue_size=queue_size, on_push=self._break_off)
        """The queue of the searches, which take no rows of the lanes."""
        self._searcher = Searcher(runner, self.searches, self.prefixes, loop=loop, streams=self.admission)
        self._lanes = [
            Lane(
                number,
                runner,
                self.admission,
                Prompts(self.prefixes),
                turn_budget=turn_budget,
                loop=loop,
                observe=observe,
            )
            for number in range(lanes)
        ]
        self.document_start = Snapshot.of_document_start(runner)
        """The state in which a stream starts that continues no other one."""
        self.is_drained = False
        """Whether ``drain`` has ended the streams: those that are submitted later would not be."""
        self._runner = runner
        self._one_at_a_time = asyncio.Lock()
        self._aside = _Seconds()  # processor time of the work beside the lanes
        self._asides = Pacer(clock=self._aside)
        self._streams: set[Stream] = set()  # submitted and not yet released
        self._readers: dict[Stream, asyncio.Task[object]] = {}  # the tasks that deliver their messages
        self._stalled: dict[Stream, StalledError] = {}  # whose delivery is being broken off
        self._watch = loop.create_task(_watch_readers(self.admission, stall_timeout))
        for lane in self._lanes:
            lane.start()
        self._searcher.start()

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return len(self._lanes)

    def admission_of(self, stream: Stream) -> Admission:
        """Returns the admission in which ``stream`` has its place."""
        return self.searches if isinstance(stream, Search) else self.admission

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue; a ``release`` must follow.

        Raises ``QueueFullError`` if the queue has no place for its caller.
        """
        self.admission_of(stream).submit(stream)
        self._streams.add(stream)

    def take(self, stream: Stream) -> IdChunk | End:
        """Returns the ids that gathered since the last call; after the last one, the end. The stream is ``ready``.

        Raises ``LaneError`` if a turn of the stream's lane failed, ``PushedOutError`` if the stream lost its place in
        the queue, and ``StalledError`` if its reader took nothing for too long.
        """
        taken = stream.take()
        if stream.paused and not stream.is_full:
            self.admission.resume(stream)
        return taken

    async def deliver(self, stream: Stream, message: Awaitable[object]) -> None:
        """Awaits ``message``, which ends once the stream's reader has room for the next one.

        One task delivers all messages of a stream. Raises ``StalledError`` if that takes too long, and cancels
        ``message``.
        """
        if stream not in self._readers:
            task = asyncio.current_task()
            assert task is not None
            self._readers[stream] = task
        self.admission.begin_message(stream)
        try:
            await message
        except asyncio.CancelledError:
            stalled = self._stalled.pop(stream, None)
            if stalled is None or self._readers[stream].uncancel():  # cancelled by the stream's caller, too
                raise
            # One of its own: the stream keeps the other, which must not keep the frames, and gRPC's call, in turn.
            raise StalledError(*stalled.args) from None
        finally:
            self.admission.end_message(stream)

    async def state_after(self, snapshot: Snapshot, ids: Ids) -> Snapshot:
        """Returns the state after ``snapshot`` and ``ids``, of which there is at least one. A thread reads them."""
        async with self._one_at_a_time:  # the lanes need the cores
            return await asyncio.to_thread(snapshot.after, ids, self._runner)

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Returns the result of ``work``, some ms in a thread. All such work takes a quarter of a core at most."""

        def measured() -> _T:
            started = time.thread_time()
            try:
                return work()
            finally:
                self._aside.spent += time.thread_time() - started

        async with self._asides.piece():
            return await asyncio.to_thread(measured)

    def release(self, stream: Stream) -> None:
        """Frees the stream's row, at the start of its lane's next turn at the latest."""
        self._streams.discard(stream)
        self._readers.pop(stream, None)
        stream.cancelled = True
        self.admission_of(stream).withdraw(stream)

    def drain(self) -> None:
        """Ends all streams with ``End.DRAINED``, whether they run, wait or are paused."""
        self.is_drained = True
        for stream in self._streams:
            stream.end(End.DRAINED)
        wake(list(self._streams))

    def close(self) -> None:
        """Ends the lanes after their current turn. Nothing may be submitted any more."""
        self._watch.cancel()
        self.admission.close()
        self.searches.close()

    def join(self) -> None:
        """Waits until the lanes have ended. Any thread may call this, after ``close``."""
        for lane in self._lanes:
            lane.join()
        self._searcher.join()

    def stop(self) -> None:
        """Ends the lanes after their current turn, and waits for them."""
        self.close()
        self.join()

    def _break_off(self, stream: Stream, error: Exception) -> None:
        """Ends a stream that lost its place, and the message on its way."""
        stream.break_off(error)
        wake([stream])
        if isinstance(error, StalledError) and stream.unread_since is not None:
            self._stalled[stream] = error
            self._readers[stream].cancel()


class _Seconds:
    """A clock of work. It doesn't know the engine, which would otherwise refer to itself and not be freed at once."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __call__(self) -> float:
        return self.spent


async def _watch_readers(admission: Admission, stall_timeout: float) -> None:
    while True:
        await asyncio.sleep(stall_timeout / _CHECKS)
        admission.push_stalled(stall_timeout)
