"""Admission: which stream gets a place and a row, and when.

Streams enter on the event loop, through the engine; the lanes' threads take them out. The admission holds the bounded
queue, and the streams between two batches, because their reader is slow or another lane has fewer rows. It shares
places and rows among callers, which the service tells apart by their connections (decision 21).

Invariants: streams hold at most as many places as there are rows and places in the queue together, whether they wait,
run, are paused, or have ended and aren't read to the end; a caller below its even share of the places is refused only
if no stream of a caller above that share waits or is unread; a lane without work sleeps, and nothing polls; a lane
takes no more than its even share of all streams.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from .caller import Caller, leaving
from .errors import PushedOutError as PushedOutError
from .errors import QueueFullError as QueueFullError
from .errors import StalledError as StalledError
from .loads import Loads
from .stream import Stream

UNREAD = 1.0
"""Seconds after which a stream whose reader doesn't take its message can be pushed out. A reader that is alive takes
one within a round trip."""


class Admission:
    """The queue in front of the lanes of one model. Thread-safe, except the methods that belong to the event loop."""

    def __init__(
        self,
        *,
        lanes: int,
        max_batch: int,
        queue_size: int,
        on_push: Callable[[Stream, Exception], None] = lambda stream, error: None,
    ) -> None:
        """For ``lanes`` lanes of at most ``max_batch`` rows each; ``queue_size`` more streams may wait.

        ``on_push`` is called with each stream that loses its place, and the reason. It must not call the admission.
        """
        self._max_batch = max_batch
        self._places = lanes * max_batch + queue_size
        self._on_push = on_push
        self._condition = threading.Condition()  # guards everything below
        self._loads = Loads(lanes, max_batch)
        self._callers: dict[str, Caller] = {}  # that have a place
        self._streams: dict[Stream, Caller] = {}  # that have a place
        self._ready: OrderedDict[str, Caller] = OrderedDict()  # callers with streams that want a row, the next first
        self._waiting = 0
        self._returning = 0
        self._paused: set[Stream] = set()
        self._closed = False

    @property
    def active(self) -> int:
        """Number of streams in a batch, or on their way to another one."""
        return self._loads.active

    @property
    def paused(self) -> int:
        """Number of streams that left their batch because their reader is slow."""
        return len(self._paused) + self._returning

    @property
    def waiting(self) -> int:
        """Number of streams in the queue."""
        return self._waiting

    @property
    def held(self) -> int:
        """Number of places that are taken."""
        return len(self._streams)

    @property
    def free(self) -> int:
        """Number of places that are free."""
        return self._places - len(self._streams)

    def is_owed(self, name: str) -> bool:
        """Whether a caller holds less than its even share of the places, and another one more.

        Runs on the event loop.
        """
        share = self._share(caller := self._callers.get(name) or Caller())
        return caller.held < share and any(other.held > share for other in self._callers.values())

    def room(self, name: str) -> int:
        """Returns how many more places a caller may take, without more than its even share. Runs on the event loop."""
        caller = self._callers.get(name) or Caller()
        return min(self.free, self._share(caller) - caller.held)

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue. Runs on the event loop.

        If all places are taken, a stream of the caller that holds the most loses its place to a caller that holds less
        than its even share. Raises ``QueueFullError`` if there is no place for this caller.
        """
        with self._condition:
            caller = self._callers.get(stream.caller) or Caller()
            if len(self._streams) >= self._places:
                self._make_place(caller)
            self._callers[stream.caller] = self._streams[stream] = caller
            caller.held += 1
            caller.waiting[stream] = None
            self._waiting += 1
            self._want_row(stream.caller, caller)

    def admit(self, lane: int, load: int) -> list[Stream] | None:
        """Returns the streams that ``lane``, which runs ``load`` streams, has to take in now.

        Callers take turns. Blocks while the lane would have nothing to do. Returns None once the admission is closed.
        """
        with self._condition:
            self._loads.note(lane, load)
            while not self._closed:
                room = self._loads.room(lane, self._returning + self._waiting)
                admitted: list[Stream] = []
                while room > len(admitted) and (stream := self._loads.receive() or self._next()) is not None:
                    admitted.append(stream)
                if admitted or load:
                    self._loads.note(lane, load + len(admitted))
                    return admitted
                self._condition.wait()
            return None

    def excess(self, lane: int, load: int) -> int:
        """Returns how many of its ``load`` rows ``lane`` has to hand over to lanes that have far fewer."""
        if not self._loads.is_uneven(load):  # in nearly every turn
            return 0
        with self._condition:
            self._loads.note(lane, load)
            return self._loads.excess(lane, self._returning + self._waiting)

    def hand_over(self, lane: int, load: int, streams: Iterable[Stream]) -> None:
        """Takes ``streams``, whose rows left ``lane``, which keeps ``load``. Lanes with room take them first."""
        with self._condition:
            self._loads.note(lane, load)
            self._loads.send(stream for stream in streams if stream in self._streams)
            self._condition.notify_all()

    def is_crowded(self, load: int) -> bool:
        """Whether a lane that runs ``load`` streams has no row for one that wants it."""
        return load >= self._max_batch and bool(self._ready)

    def surplus(self, running: list[Stream]) -> set[Stream]:
        """Returns those of the streams of a lane without a free row that have to leave their rows for a while.

        A caller that has more than its even share of the rows leaves as many as callers below that share want. The
        streams that had to leave take turns with the others of their caller, some in each turn of the lane. Those that
        have had their rows for longest come first in ``running``, and leave first.
        """
        with self._condition:
            return leaving(running, max(1, self._max_batch // max(1, len(self._callers))), self._callers)

    def park(self, streams: Iterable[Stream]) -> None:
        """Takes back streams that left their rows to others. They return in turn."""
        with self._condition:
            for stream in streams:
                if stream in self._streams:
                    self._return(stream)

    def pause(self, streams: list[Stream]) -> None:
        """Keeps streams out of every batch until their readers have caught up."""
        with self._condition:
            for stream in streams:
                stream.paused = True  # from here on, the engine calls `resume` when the reader takes
                if stream not in self._streams:
                    continue
                self._paused.add(stream)
                if not stream.is_full:  # its reader caught up just before
                    self._return(stream)

    def resume(self, stream: Stream) -> None:
        """Lets a paused stream return to a batch. Does nothing if it isn't paused."""
        with self._condition:
            if stream in self._paused:
                self._return(stream)

    def withdraw(self, stream: Stream) -> None:
        """Takes the stream's place, if it has one. If it is in a batch, it leaves at its lane's next turn."""
        with self._condition:
            if stream in self._streams:
                self._remove(stream)

    def begin_message(self, stream: Stream) -> None:
        """Notes that the stream's reader has a message to take. Runs on the event loop."""
        stream.unread_since = time.monotonic()
        if (caller := self._streams.get(stream)) is not None:
            caller.unread[stream] = None

    def end_message(self, stream: Stream) -> None:
        """Notes that the reader took the message. Runs on the event loop."""
        stream.unread_since = None
        if (caller := self._streams.get(stream)) is None:
            return
        caller.unread.pop(stream, None)
        if stream in caller.untried:
            with self._condition:
                caller.untried.remove(stream)
                caller.tried += 1
                self._want_row(stream.caller, caller)

    def push_stalled(self, seconds: float) -> None:
        """Ends the streams whose reader has taken nothing for ``seconds``. Runs on the event loop."""
        latest = time.monotonic() - seconds
        with self._condition:
            for caller in list(self._callers.values()):
                while (stream := caller.unread_since(latest)) is not None:
                    self._push(stream, StalledError(f"its reader took nothing for {seconds:g} s"))

    def close(self) -> None:
        """Ends every lane after its current turn."""
        with self._condition:
            self._closed = True
            self._on_push = lambda stream, error: None  # an engine that refers to itself isn't freed at once
            self._condition.notify_all()

    def _make_place(self, newcomer: Caller) -> None:
        """Pushes out a stream of the caller that holds the most, if ``newcomer`` holds less than its even share.

        A waiting stream goes first, the newest: it has cost the least. Otherwise the stream that is unread for longest.
        Raises ``QueueFullError``.
        """
        share = self._share(newcomer)
        if newcomer.held < share:
            latest = time.monotonic() - UNREAD
            above = (caller for caller in self._callers.values() if caller.held > share)
            for caller in sorted(above, key=lambda caller: caller.held, reverse=True):
                if caller.waiting:
                    stream = next(reversed(caller.waiting))
                    self._push(stream, PushedOutError("its place in the queue went to a caller with fewer requests"))
                    return
                if (unread := caller.unread_since(latest)) is not None:
                    self._push(unread, StalledError("its reader took nothing, and its place went to another caller"))
                    return
        raise QueueFullError(len(self._streams))

    def _share(self, caller: Caller) -> int:
        """Returns the even share of the places, at least one: of many callers, none has two before all have one."""
        return max(1, self._places // (len(self._callers) + (caller.held == 0)))

    def _push(self, stream: Stream, error: Exception) -> None:
        self._remove(stream)
        self._on_push(stream, error)

    def _remove(self, stream: Stream) -> None:
        caller = self._streams.pop(stream)
        caller.held -= 1
        caller.unread.pop(stream, None)
        self._paused.discard(stream)
        self._loads.forget(stream)
        if stream in caller.waiting:
            del caller.waiting[stream]
            self._waiting -= 1
        elif stream in caller.returning:
            del caller.returning[stream]
            self._returning -= 1
        caller.untried.discard(stream)
        if caller.ready:
            self._want_row(stream.caller, caller)
        else:
            self._ready.pop(stream.caller, None)
        if not caller.held:
            del self._callers[stream.caller]

    def _return(self, stream: Stream) -> None:
        self._paused.discard(stream)
        stream.paused = False
        caller = self._streams[stream]
        caller.returning[stream] = None
        self._returning += 1
        self._want_row(stream.caller, caller)

    def _want_row(self, name: str, caller: Caller) -> None:
        if caller.ready:
            self._ready.setdefault(name, caller)
            self._condition.notify_all()

    def _next(self) -> Stream | None:
        """Removes and returns the next stream of the caller whose turn it is; None if none wants a row."""
        if not self._ready:
            return None
        name, caller = self._ready.popitem(last=False)
        if caller.returning:
            stream, _ = caller.returning.popitem(last=False)
            self._returning -= 1
        else:
            stream, _ = caller.waiting.popitem(last=False)
            self._waiting -= 1
            if stream.count:
                caller.untried.add(stream)
        if caller.ready:
            self._ready[name] = caller
        return stream
