"""Refusals that wait: a connection that doesn't keep to the delays that it is told has to keep to them.

Stands in the interceptor, before the status of a refusal with a delay is sent. A refusal costs the server as much as a
short text, and a caller that tries again at once would have it refuse calls all day. The first refusals of a
connection are sent at once, so that its callers can try another server. After these, a refusal is sent when a part of
its delay is over, and tells the rest of it: who keeps to delays comes back when it would have, and who doesn't
is slowed down.

Invariant: connections that always come back at once are refused ``RATE`` times per second each, or once in a
part of the delay for each call that they have at a time, whichever is more.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

AT_ONCE = 16
"""Refusals of a connection that are sent at once."""

RATE = 1.0
"""Of these, the number that a connection gets back per second."""

_PART = 0.75  # of a delay
_LONGEST = 1.0  # seconds: the server ends no later for it
_SPREAD = 0.5  # part of that by which some wait less: what came together must not come back together
_GOLDEN = 0.618  # of the spread: the distance between two refusals, which spreads any number of them evenly


class Refusals:
    """The connections that were refused lately."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the time in seconds."""
        self._clock = clock
        self._place = 0.0  # of the next one in the spread
        self._even: OrderedDict[str, float] = OrderedDict()  # by connection: when it has all refusals at once again

    def pause(self, connection: str, delay: float) -> float:
        """Returns the seconds for which the next refusal of ``connection``, which tells ``delay``, has to wait."""
        now = self._clock()
        while self._even and next(iter(self._even.values())) <= now:
            self._even.popitem(last=False)
        even = max(self._even.pop(connection, now), now)
        if even - now <= (AT_ONCE - 1) / RATE:
            self._even[connection] = even + 1 / RATE
            return 0.0
        self._even[connection] = even
        self._place = (self._place + _GOLDEN) % 1
        return min(_PART * delay, _LONGEST) * (1 - _SPREAD * self._place)

    def __len__(self) -> int:
        return len(self._even)
