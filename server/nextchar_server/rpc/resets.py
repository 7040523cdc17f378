"""Rapid resets: connections that open calls and cancel them at once, again and again (CVE-2023-44487).

Stands before the interceptor. A cancelled call costs the server as much as many characters, and its caller next to
nothing. The calls of a connection that overdoes it are dropped for a while, which costs little; if it continues, the
server hangs up, so that gRPC need not read on either.

Invariant: of such a connection, and of a host that it hung up on lately, few calls are handled per second.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter

from .hanging_up import hang_up, host_of

MAX_CALLS = 6_000
"""Most calls of one connection at once: more than a burst of one client has, fewer than the budget has memory for."""

SOON = 1.0
"""Seconds. Only calls that were cancelled sooner are counted, as in Envoy's protection."""

BURST = 200
"""Calls that a connection may cancel so soon, all at once."""

RATE = 100
"""Calls per second that a connection may cancel so soon for ever."""

DROPPED = 500
"""Calls of one connection that are dropped before the server hangs up."""

_PENALTY = 5.0  # seconds in which calls are dropped
_MEMORY = 60.0  # seconds in which the other connections of such a host may cancel a tenth as many
_MAX_CONNECTIONS = 4096  # that are remembered, and as many hosts

_log = structlog.get_logger()


@dataclass
class _Record:
    """The cancelled calls of one connection."""

    left: float
    """Calls that it could cancel at ``since``; below 0, its calls are dropped."""
    since: float
    dropped: int = 0

    def left_at(self, now: float, share: float) -> float:
        """Returns how many calls it may cancel at ``now``, if it may cancel this share of the usual number."""
        return min(share * BURST, self.left + share * RATE * (now - self.since))


class Resets:
    """The connections that cancel calls. Used on the event loop only."""

    def __init__(self, rejected: Counter) -> None:
        """``rejected`` counts the calls that are dropped."""
        self._rejected = rejected.labels("resets")
        self._records: OrderedDict[str, _Record] = OrderedDict()  # by connection, the latest last
        self._hosts: OrderedDict[str, float] = OrderedDict()  # of connections that were hung up on, and when
        self._hanging_up: set[asyncio.Future[bool]] = set()

    def count(self, connection: str, seconds: float) -> None:
        """Counts a call of ``connection`` that was cancelled after ``seconds``."""
        if seconds >= SOON:
            return
        now = asyncio.get_running_loop().time()
        share = self._share(connection, now)
        record = self._records.get(connection) or _Record(share * BURST, now)
        record.left, record.since = record.left_at(now, share) - 1, now
        if -1 <= record.left < 0:
            record.left = -_PENALTY * share * RATE
            record.dropped = 0
            _log.warning("rapid_resets", peer=connection, seconds=_PENALTY, hint="its calls are dropped")
        _remember(self._records, connection, record)

    def shuns(self, connection: str) -> bool:
        """Returns whether a new call of ``connection`` must be dropped. Hangs up if there is one after another."""
        record = self._records.get(connection)
        if record is None:
            return False
        loop = asyncio.get_running_loop()
        if record.left_at(loop.time(), self._share(connection, loop.time())) >= 0:
            return False
        self._rejected.inc()
        record.dropped += 1
        if record.dropped == DROPPED:
            _log.warning("hung_up", peer=connection, hint="it continued to cancel calls")
            _remember(self._hosts, host_of(connection), loop.time())
            task = loop.run_in_executor(None, hang_up, connection)
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)
        return True

    def _share(self, connection: str, now: float) -> float:
        hung_up = self._hosts.get(host_of(connection))
        return 1.0 if hung_up is None or now - hung_up > _MEMORY else 0.1


def _remember(records: OrderedDict[str, Any], key: str, record: object) -> None:
    records[key] = record
    records.move_to_end(key)
    if len(records) > _MAX_CONNECTIONS:
        records.popitem(last=False)
