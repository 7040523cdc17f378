"""Returns: when callers that found a model's queue full should come back, and for whom a free place is kept.

Stands between the service and the admission. A caller that is refused is told how long to wait: as long as a fair share
of the places takes to become free at the speed at which they do, but a few tries in that time, and never at the same
moment as others. While refused callers are expected, a place that becomes free is kept for some milliseconds, the less
the more often a caller has come: otherwise whoever had it calls again at once and keeps it for good.

Invariant: refused callers come back ``MOST_PER_SECOND`` times per second at most, all together, if they obey.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import grpc

SHORTEST, LONGEST = 0.25, 5.0
"""Seconds that a caller is asked to wait, up to half more or less."""

MOST_PER_SECOND = 500
"""A refusal costs about as much as a short text, so without this bound a crowd would leave no time for others."""

TRIES_KEY = "nextchar-tries"
"""Key of the metadata in which a caller may say how often it was refused. gRPC's own one doesn't reach a server."""

_TOLD = [str(number) for number in range(100)]
_TRIES = 4  # within the time of a fair share
_KEPT_PLACES = 6  # a place is kept until this number of others has become free
_KEPT = 0.03  # seconds at most; half of it for a caller that was refused once, a quarter after two times, and on
_MEASURED = 1024  # places that become free, over which the speed is measured
_WINDOW = 10.0  # seconds after which what was measured is forgotten


def tries(context: grpc.aio.ServicerContext[Any, Any]) -> int:
    """Returns how often the caller of ``context`` says that it was refused; 0 if it says something else."""
    metadata = context.invocation_metadata() or ()
    said = next((str(value) for key, value in metadata if key == TRIES_KEY), "")
    return int(said) if said in _TOLD else 0


class Returns:
    """The refused callers of one model."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random
    ) -> None:
        """``clock`` returns the time in seconds, ``draw`` a random number in [0, 1)."""
        self._clock = clock
        self._draw = draw
        self._expected: list[float] = []  # heap of the times at which refused callers come back
        self._freed: deque[float] = deque(maxlen=_MEASURED)  # times at which a place became free since ``_since``
        self._since = -_WINDOW  # when the queue was first found full, this time
        self._last = -_WINDOW  # when it was last found full

    def are_expected(self) -> bool:
        """Whether callers that were refused should come back."""
        self._forget()
        return bool(self._expected)

    def freed(self) -> None:
        """Notes that a place has become free."""
        if (now := self._clock()) - self._last <= _WINDOW:
            self._freed.append(now)

    def keeps(self, free: int, tries: int) -> bool:
        """Whether the ``free`` places are kept from a caller that was refused ``tries`` times."""
        now = self._forget()
        kept_since = now - min(_KEPT, _KEPT_PLACES * self._interval(now)) / 2**tries
        kept = 0
        for freed in reversed(self._freed):
            if freed < kept_since or kept >= free:
                break
            kept += 1
        return kept >= free

    def delay(self) -> float:
        """Returns how many seconds a caller that is refused now should wait."""
        now = self._forget()
        if now - self._last > _WINDOW:
            self._since = now
            self._freed.clear()
        self._last = now
        callers = len(self._expected) + 1
        shortest = max(SHORTEST, callers / MOST_PER_SECOND)
        wanted = min(max(callers * self._interval(now) / _TRIES, shortest), max(LONGEST, shortest))
        seconds = wanted * (0.5 + self._draw())
        heappush(self._expected, now + seconds)
        return seconds

    def _interval(self, now: float) -> float:
        """Returns the seconds between two places that become free."""
        since = self._freed[0] if len(self._freed) == _MEASURED else self._since
        return (now - since) / (1 + len(self._freed))

    def _forget(self) -> float:
        """Forgets past times, and returns the present one."""
        now = self._clock()
        while self._expected and self._expected[0] <= now:
            heappop(self._expected)
        while self._freed and self._freed[0] < now - _WINDOW:
            self._freed.popleft()
            self._since = now - _WINDOW
        return now
