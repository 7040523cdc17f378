"""The engine: continuous batching of one model's streams.

Stands between the service, which makes streams on the event loop, and the runner, which advances batches. Joins the
admission and the lanes. Knows ids and states, never text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nextchar_model.runner import Runner

from .admission import Admission
from .lane import Lane
from .stream import End, IdChunk, Stream, wake


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
        observe: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        """Starts ``lanes`` threads with batches of at most ``max_batch`` rows; ``queue_size`` more streams may wait.

        A turn takes about ``turn_budget`` seconds. After each turn, the lane's thread calls ``observe`` with the
        number of rows and the seconds per step.
        """
        self.admission = Admission(lanes=lanes, max_batch=max_batch, queue_size=queue_size)
        loop = asyncio.get_running_loop()
        self._lanes = [
            Lane(number, runner, self.admission, turn_budget=turn_budget, loop=loop, observe=observe)
            for number in range(lanes)
        ]
        self._streams: set[Stream] = set()  # submitted and not yet released
        for lane in self._lanes:
            lane.start()

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue; a ``release`` must follow. Raises ``QueueFullError`` if the queue is full."""
        self.admission.submit(stream)
        self._streams.add(stream)

    async def take(self, stream: Stream) -> IdChunk | End:
        """Returns the ids that gathered since the last call, or waits for some; after the last one, the end.

        Raises ``LaneError`` if a turn of the stream's lane failed.
        """
        taken = await stream.take()
        if stream.paused:
            self.admission.resume(stream)
        return taken

    def release(self, stream: Stream) -> None:
        """Frees the stream's row, at the start of its lane's next turn at the latest."""
        self._streams.discard(stream)
        stream.cancelled = True
        self.admission.withdraw(stream)

    def drain(self) -> None:
        """Ends all streams with ``End.DRAINED``, whether they run, wait or are paused."""
        for stream in self._streams:
            stream.end(End.DRAINED)
        wake(list(self._streams))

    def stop(self) -> None:
        """Ends the lanes after their current turn, and waits for them."""
        self.admission.close()
        for lane in self._lanes:
            lane.join()
