"""Rapid resets: connections that open calls and cancel them at once, again and again (CVE-2023-44487).

Stands before the interceptor. A cancelled call costs the server as much as many characters, and its caller next to
nothing. Most such calls never reach a handler, so they are counted from outside: a thread compares how many calls
of each connection have failed with those that were cancelled after they had run for a while. A connection that overdoes
it is held back, and those of its calls that came in before are dropped.

Invariant: over time, a connection costs the server no more cancelled calls than ``BURST`` and ``RATE`` per second,
and those of one ``INTERVAL``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from . import channelz
from .holding_back import hold_back, let_go

SOON = 1.0
"""Seconds. Only calls that were cancelled sooner are counted, as in Envoy's protection."""

BURST = 200
"""Calls that a connection may cancel so soon, all at once."""

RATE = 100
"""Calls per second that a connection may cancel so soon for ever, and one more for each that ends well: the connection
of a proxy has many callers."""

INTERVAL = 0.1
"""Seconds between two looks at the connections, at least. One takes up to a ms of a core for each connection."""

_FEW = 10
_QUIET = 1.0
"""After fewer calls of each connection than this, there is no look before this many seconds have passed."""
_ALL = 5.0  # seconds between two looks at all connections, and not only those of which a call came

LONGEST = 30.0
"""Most seconds for which a connection is held back: less than the minute without data after which it is pinged."""

SHORTEST = 10.0
"""Fewest seconds of that."""

_LOOKING = 1 / 50  # part of a core that the looks may take

_log = structlog.get_logger()


@dataclass
class _Record:
    """The calls of one connection."""

    looked_at: float
    calls: channelz.Calls = channelz.NO_CALLS
    level: float = 0.0
    """Calls above those that it may cancel for ever."""

    def rise(self, calls: channelz.Calls, later: int, now: float) -> None:
        """Adds the calls since the last look; ``later`` of those that failed had run for a while."""
        seconds, self.looked_at = now - self.looked_at, now
        failed, succeeded = calls.failed - self.calls.failed, calls.succeeded - self.calls.succeeded
        self.level = max(0.0, self.level + failed - later - succeeded - RATE * seconds)
        self.calls = calls


class Resets:
    """The connections that cancel calls. ``count`` and ``shuns`` are for the event loop."""

    def __init__(self, rejected: Counter) -> None:
        """``rejected`` counts the calls that are dropped."""
        self._rejected = rejected.labels("resets")
        self._later: dict[str, int] = {}  # calls that were cancelled after a while, by connection, since the last look
        self._records: dict[int, _Record] = {}
        self._held: dict[str, float] = {}  # connections that are held back, and the time until which
        self._came: dict[str, int] = {}  # calls, by connection, since the last look
        self._looked_at = self._looked_at_all = time.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, server: int) -> None:
        """Begins to look at the connections of the gRPC server with this number."""
        self._thread = threading.Thread(target=self._run, args=(server,), name="resets", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Ends the thread of ``watch``. Connections stay held back."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def count(self, connection: str, seconds: float) -> None:
        """Notes a call of ``connection`` that was cancelled after ``seconds``."""
        if seconds >= SOON:
            self._later[connection] = self._later.get(connection, 0) + 1

    def shuns(self, connection: str) -> bool:
        """Returns whether a call of ``connection`` must be dropped."""
        self._came[connection] = self._came.get(connection, 0) + 1
        if connection not in self._held:
            return False
        self._rejected.inc()
        return True

    def _run(self, server: int) -> None:
        pause = INTERVAL
        while not self._stopping.wait(pause):
            began, now = time.thread_time(), time.monotonic()
            if now - self._looked_at < _QUIET and max(list(self._came.values()), default=0) < _FEW:
                continue
            try:
                self._look(server, now)
            except Exception:  # here, it would end the protection
                _log.exception("resets_failed")
            pause = max(INTERVAL, (time.thread_time() - began) / _LOOKING)

    def _look(self, server: int, now: float) -> None:
        for peer in [peer for peer, until in self._held.items() if until <= now]:
            let_go(peer)
            del self._held[peer]
        later, self._later = self._later, {}
        came, self._came = self._came, {}
        looks_at_all = now - self._looked_at_all >= _ALL
        self._looked_at_all = now if looks_at_all else self._looked_at_all
        self._looked_at = now
        if not (came or later or looks_at_all):
            return
        records = {}
        for number, peer in channelz.connections(server).items():
            record = records[number] = self._records.get(number) or _Record(now)
            if not (looks_at_all or peer in came or peer in later) or (calls := channelz.calls_of(number)) is None:
                continue
            record.rise(calls, later.get(peer, 0), now)
            if record.level > BURST:
                self._hold(peer, now, record)
        self._records = records

    def _hold(self, peer: str, now: float, record: _Record) -> None:
        """Holds ``peer`` back for as long as its calls would take at their rate; longer, if it is held back already."""
        seconds = max(SHORTEST, record.level / RATE)
        is_new = peer not in self._held
        self._held[peer] = min(now + LONGEST, self._held.get(peer, now) + seconds)
        record.level = 0.0
        if is_new:
            hold_back(peer)
            _log.warning("held_back", peer=peer, seconds=round(seconds, 1), hint="it cancels its calls")
