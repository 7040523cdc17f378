"""Admission: which stream gets a row, and when.

Stands between the engine, whose streams come in on the event loop, and the lanes, whose threads take them.
It keeps the bounded queue, and the streams that left their batch because their reader is slow.

What always holds: there are at most ``queue_size`` streams more than rows, paused ones included; a lane with
nothing to do sleeps, and nothing polls; a lane takes no more than its even share of all streams.
"""

from __future__ import annotations

import math
import threading
from collections import deque

from ..rpc.errors import QueueFullError
from .stream import Stream


class Admission:
    """The queue before the lanes of one model. Any thread may call it."""

    def __init__(self, *, lanes: int, max_batch: int, queue_size: int) -> None:
        """For ``lanes`` lanes of at most ``max_batch`` rows each."""
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
        """Streams in a batch."""
        return sum(self._loads)

    @property
    def paused(self) -> int:
        """Streams that left their batch because their reader is slow."""
        return len(self._paused) + len(self._returning)

    @property
    def waiting(self) -> int:
        """Streams in the queue."""
        return len(self._waiting)

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue. Raises ``QueueFullError`` where it has no place."""
        with self._condition:
            held = self.active + self.paused + self.waiting
            if held >= self._max_batch * len(self._loads) + self._queue_size:
                raise QueueFullError(held)
            self._waiting.append(stream)
            self._condition.notify_all()

    def admit(self, lane: int, load: int) -> list[Stream] | None:
        """What ``lane``, which has ``load`` streams, takes in now. Waits while it has nothing to do; None: closed."""
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
                stream.paused = True  # from here on, ``resume`` comes once its reader has taken
                if stream.cancelled:
                    continue
                if stream.is_full:
                    self._paused.add(stream)
                else:  # its reader caught up just before
                    stream.paused = False
                    self._returning.append(stream)
                    self._condition.notify()

    def resume(self, stream: Stream) -> None:
        """Lets a paused stream come back into a batch."""
        with self._condition:
            if stream in self._paused:
                self._paused.remove(stream)
                stream.paused = False
                self._returning.append(stream)
                self._condition.notify_all()

    def withdraw(self, stream: Stream) -> None:
        """Forgets ``stream``, which was cancelled. One that is in a batch leaves it at its lane's next turn."""
        with self._condition:
            self._paused.discard(stream)
            for queue in (self._waiting, self._returning):
                if stream in queue:
                    queue.remove(stream)

    def close(self) -> None:
        """Sends every lane home after its present turn."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
