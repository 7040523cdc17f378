"""Rapid resets: connections that open calls and cancel them at once, again and again (CVE-2023-44487).

Stands before the interceptor. A cancelled call costs the server as much as many characters, and its caller next to
nothing. gRPC refuses calls by itself, cheaply, once a connection has as many as it may; but it forgets a cancelled one
as soon as the server does. So the server doesn't forget those of a connection that overdoes it.

Invariant: such a connection gets few calls handled per second, and the memory of its others is part of the budget.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Any

import structlog
from prometheus_client import Counter

from ..memory import Budget, Holding, MemoryFullError

MAX_CALLS = 6_000
"""Most calls of one connection at once: more than a burst of one client has, fewer than the budget has memory for."""

SOON = 1.0
"""Seconds. Only calls that were cancelled sooner are counted, as in Envoy's protection."""

BURST = 200
"""Calls that a connection may cancel so soon, all at once."""

RATE = 100
"""Calls per second that a connection may cancel so soon for ever."""

_PENALTY = 5.0  # seconds in which no call is handled
_HOLD = 10.0  # seconds until a call that isn't handled is forgotten
_CALL_BYTES = 14 * 2**10  # of gRPC, for such a call
_MAX_CONNECTIONS = 4096  # that are remembered

_log = structlog.get_logger()


class Resets:
    """The connections that cancel calls. Used on the event loop only."""

    def __init__(self, budget: Budget, rejected: Counter) -> None:
        """``rejected`` counts the calls that aren't handled."""
        self._budget = budget
        self._rejected = rejected.labels("resets")
        self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left at some time
        self._held: deque[tuple[float, Holding, Any]] = deque()  # the oldest first, with the time when it is due
        self._timer: asyncio.TimerHandle | None = None

    def count(self, connection: str, seconds: float) -> None:
        """Counts a call of ``connection`` that was cancelled after ``seconds``."""
        if seconds >= SOON:
            return
        now = asyncio.get_running_loop().time()
        before = self._left(connection, now)
        left = before - 1
        if left < 0:
            left = -_PENALTY * RATE
            if before >= 0:
                _log.warning("rapid_resets", peer=connection, seconds=_PENALTY, hint="its calls aren't handled")
        self._allowances[connection] = left, now
        self._allowances.move_to_end(connection)
        if len(self._allowances) > _MAX_CONNECTIONS:
            self._allowances.popitem(last=False)

    def shuns(self, connection: str, call: Any) -> bool:
        """Returns whether ``call`` must not be handled. If so, refers to it for a while: gRPC counts it that long."""
        if connection not in self._allowances:
            return False
        loop = asyncio.get_running_loop()
        if self._left(connection, loop.time()) >= 0:
            return False
        self._rejected.inc()
        try:
            self._held.append((loop.time() + _HOLD, self._budget.hold(connection, _CALL_BYTES), call))
        except MemoryFullError:
            return True
        if self._timer is None:
            self._timer = loop.call_later(_HOLD, self._forget)
        return True

    def _left(self, connection: str, now: float) -> float:
        """Returns how many calls ``connection`` may cancel now. Below 0, its calls aren't handled."""
        left, since = self._allowances.get(connection, (BURST, now))
        return min(BURST, left + RATE * (now - since))

    def _forget(self) -> None:
        loop = asyncio.get_running_loop()
        while self._held and self._held[0][0] <= loop.time():
            _, holding, _ = self._held.popleft()
            holding.release()
        self._timer = loop.call_at(self._held[0][0], self._forget) if self._held else None
