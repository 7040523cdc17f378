"""The share of a core that a thread may take: how much of it is left.

For the thread of the HTTP port, ``probes``, whose work its callers decide.
"""

from __future__ import annotations

import time


class ThreadShare:
    """Processor time of the thread that makes and asks it: ``share`` of a core, and ``burst`` seconds at once."""

    def __init__(self, share: float, burst: float) -> None:
        self.share = share
        self._burst = burst
        self._left = burst
        self._credit = 0.0
        self.credited = 0.0
        """Seconds that were credited so far."""
        self._seen, self._worked = time.monotonic(), time.thread_time()

    def left(self) -> float:
        """Returns the seconds of processor time that the thread may take now; below 0, it has taken too much."""
        seen, worked = time.monotonic(), time.thread_time()
        earned = self.share * (seen - self._seen)
        self._left = min(self._burst, self._left + earned) - (worked - self._worked - self._credit)
        self._seen, self._worked, self._credit = seen, worked, 0.0
        return self._left

    def credit(self, seconds: float) -> None:
        """Leaves ``seconds`` of the thread's processor time out of its share."""
        self._credit += seconds
        self.credited += seconds
