"""Admission: which stream gets a row, and when.

Streams enter on the event loop, through the engine; the lanes' threads take them out. The admission holds the bounded
queue, and the streams that left their batch because their reader is slow.

Invariant: the admission and the batches hold at most ``queue_size`` streams more than there are rows, paused
ones included; a lane without work sleeps, and nothing polls; a lane takes no more than its even share of all streams.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from .stream import Stream


class QueueFullError(Exception):
    """The queue has no place for another stream."""

    def __init__(self, held: int) -> None:
        """``held`` is the number of streams that are queued, running or paused."""
        super().__init__(f"the server is full: it holds {held} requests already")


class Admission:
    """The queue in front of the lanes of one model. Thread-safe."""

    def __init__(self, *, lanes: int, max_batch: int, queue_size: int) -> None:
        """For ``lanes`` lanes of at most ``max_batch`` rows each; ``queue_size`` more streams may wait."""
        self._max_batch = max_batch
        self._queue_size = queue_size
        self._condition = threading.Condition()  # guards everything below
        self._loads = [0] * lanes
        self._waiting: deque[Stream] = deque()
        self._returning: deque[Stream] = deque()
        self._paused: set[Stream] = set()
        self._closed = False

    @property
    def active(self) -> int:
        """Number of streams in a batch."""
        return sum(self._loads)

    @property
    def paused(self) -> int:
        """Number of streams that left their batch because their reader is slow."""
        return len(self._paused) + len(self._returning)

    @property
    def waiting(self) -> int:
        """Number of streams in the queue."""
        return len(self._waiting)

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue. Raises ``QueueFullError`` if the queue is full."""
        with self._condition:
            held = self.active + self.paused + self.waiting
            if held >= self._max_batch * len(self._loads) + self._queue_size:
                raise QueueFullError(held)
            self._waiting.append(stream)
            self._condition.notify_all()

    def admit(self, lane: int, load: int) -> list[Stream] | None:
        """Returns the streams that ``lane``, which runs ``load`` streams, has to take in now.

        Blocks while the lane would have nothing to do. Returns None once the admission is closed.
        """
        with self._condition:
            self._loads[lane] = load
            while not self._closed:
                share = math.ceil((self.active + len(self._returning) + len(self._waiting)) / len(self._loads))
                room = min(share, self._max_batch) - load
                admitted: list[Stream] = []
                while room > len(admitted) and (queue := self._returning or self._waiting):
                    admitted.append(queue.popleft())
                if admitted or load:
                    self._loads[lane] = load + len(admitted)
                    return admitted
                self._condition.wait()
            return None

    def pause(self, streams: list[Stream]) -> None:
        """Keeps streams out of every batch until their readers have caught up."""
        with self._condition:
            for stream in streams:
                stream.paused = True  # from here on, the engine calls `resume` when the reader takes
                if stream.cancelled:
                    continue
                if stream.is_full:
                    self._paused.add(stream)
                else:  # its reader caught up just before
                    stream.paused = False
                    self._returning.append(stream)
                    self._condition.notify()

    def resume(self, stream: Stream) -> None:
        """Lets a paused stream return to a batch. Does nothing if it isn't paused."""
        with self._condition:
            if stream in self._paused:
                self._paused.remove(stream)
                stream.paused = False
                self._returning.append(stream)
                self._condition.notify_all()

    def withdraw(self, stream: Stream) -> None:
        """Forgets a cancelled stream. If it is in a batch, it leaves at the start of its lane's next turn."""
        with self._condition:
            self._paused.discard(stream)
            for queue in (self._waiting, self._returning):
                if stream in queue:
                    queue.remove(stream)

    def close(self) -> None:
        """Ends every lane after its current turn."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
