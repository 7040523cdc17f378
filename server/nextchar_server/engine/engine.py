"""The engine: continuous batching of one model's streams.

Stands between the service, which makes streams on the event loop, and the runner, which advances batches. It
puts together the admission and the lanes; it knows ids and states, never text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nextchar_model.runner import Runner

from .admission import Admission
from .lane import Lane
from .stream import Chunk, End, Stream, wake


class Engine:
    """Lanes over one runner. Its methods run on the event loop that made it."""

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
        """Starts ``lanes`` threads of at most ``max_batch`` rows; ``queue_size`` more streams may wait.

        A turn takes about ``turn_budget`` seconds. ``observe`` is told the rows and the seconds a step of each
        turn, on the lane's thread.
        """
        self.admission = Admission(lanes=lanes, max_batch=max_batch, queue_size=queue_size)
        loop = asyncio.get_running_loop()
        self._lanes = [
            Lane(number, runner, self.admission, turn_budget=turn_budget, loop=loop, observe=observe)
            for number in range(lanes)
        ]
        self._streams: set[Stream] = set()  # submitted and not released yet
        for lane in self._lanes:
            lane.start()

    def submit(self, stream: Stream) -> None:
        """Puts ``stream`` into the queue. Raises ``QueueFullError`` where it has no place."""
        self.admission.submit(stream)
        self._streams.add(stream)

    async def take(self, stream: Stream) -> Chunk | End:
        """What has gathered since the last call, waiting for it if need be; at the last, the end.

        Raises what went wrong in the stream's lane.
        """
        taken = await stream.take()
        if stream.paused:
            self.admission.resume(stream)
        return taken

    def release(self, stream: Stream) -> None:
        """Has to follow every ``submit``: frees the stream's row, at its lane's next turn at the latest."""
        self._streams.discard(stream)
        stream.cancelled = True
        self.admission.withdraw(stream)

    def drain(self) -> None:
        """Ends all streams with ``End.DRAINED``, wherever they stand."""
        for stream in self._streams:
            stream.end(End.DRAINED)
        wake(list(self._streams))

    def stop(self) -> None:
        """Ends the lanes after their present turn."""
        self.admission.close()
        for lane in self._lanes:
            lane.join()
