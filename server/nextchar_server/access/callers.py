"""Callers: who calls, how much each may have at once and per second, and how much it has had.

``rpc.gate`` finds the caller of a call by its credential, before any other work of the call. The service charges it for
the characters of its texts.

Invariant: a caller has the same limits and the same account whichever of its tokens it shows, and on whatever
connection; the metrics name a bounded number of callers.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from ..metrics import CallerMetrics

BURST = 1.0
"""Seconds in which a caller that was idle may use the characters of as many seconds at once."""

MOST_LABELLED = 100
"""Most callers of signed tokens that the metrics name. The issuer chooses their names, and there may be millions."""

OTHER = "other"
"""Label of all others of them."""

LOOK = 0.25
"""Most seconds between two looks of a text that is slowed: a drain must find it in less than ``service.LAST_WORDS``."""

_PORTIONS = 10  # messages per second of texts that are slowed
_LEAST_PORTION = 16  # characters of such a message: many texts of a slow caller have fewer messages instead
_SWEEP = 4096  # callers, from which those that are idle are forgotten


@dataclass(frozen=True)
class Limits:
    """The most that a caller may have. 0 is no limit."""

    streams: int = 0
    """Texts at once, scores included."""
    rate: int = 0
    """Characters per second: of prompts, generated, and scored."""


@dataclass(frozen=True)
class Identity:
    """A caller, as its credential names it."""

    name: str
    limits: Limits
    is_listed: bool
    """Whether the operator listed its name, so that the metrics may always show it."""


class Caller:
    """One caller. Used on the event loop."""

    def __init__(self, identity: Identity, metrics: CallerMetrics, label: str, clock: Callable[[], float]) -> None:
        self.name = identity.name
        self.limits = identity.limits
        self.streams = 0
        """Number of its texts now."""
        self._calls = metrics.calls
        self._characters = metrics.characters.labels(label)
        self._label = label
        self._clock = clock
        self._paid = -math.inf  # the clock's time up to which its characters use up its rate
        self._turn: asyncio.Future[None] | None = None  # of its texts, once it is out of debt

    @property
    def debt(self) -> float:
        """Seconds until its characters are within its rate; 0 if they are."""
        return max(0.0, self._paid - self._clock()) if self.limits.rate else 0.0

    @property
    def portion(self) -> int | None:
        """Most characters that a message should have, so that slowed texts come evenly; None if they aren't slowed."""
        if not self.limits.rate:
            return None
        return max(_LEAST_PORTION, math.ceil(self.limits.rate / (_PORTIONS * max(1, self.streams))))

    async def turn(self, most: float) -> bool:
        """Waits until the caller is out of debt, for ``most`` seconds at most. Returns whether it is.

        All its texts that wait have the same turn, each for a portion, so that their rows share the steps of a batch.
        """
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
            self._end_turn(self._turn)
        return bool((await asyncio.wait([self._turn], timeout=most))[0])

    def _end_turn(self, turn: asyncio.Future[None]) -> None:
        if debt := self.debt:
            asyncio.get_running_loop().call_later(debt, self._end_turn, turn)
        else:
            turn.set_result(None)
            self._turn = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing has to be remembered of it."""
        return not self.streams and self._paid <= self._clock() - BURST

    def charge(self, characters: int) -> None:
        """Counts ``characters`` of its texts. They may exceed its rate: then it is in debt."""
        self._characters.inc(characters)
        if self.limits.rate:
            self._paid = max(self._paid, self._clock() - BURST) + characters / self.limits.rate

    def count(self, code: str) -> None:
        """Counts a call that ended with ``code``."""
        self._calls.labels(self._label, code).inc()


class Callers:
    """The callers of a server, by name."""

    def __init__(self, metrics: CallerMetrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the time in seconds."""
        self._metrics = metrics
        self._clock = clock
        self._callers: dict[str, Caller] = {}
        self._sweep_at = _SWEEP
        self._labelled: set[str] = set()

    def get(self, identity: Identity) -> Caller:
        """Returns the caller, with the limits that it has now."""
        caller = self._callers.get(identity.name)
        if caller is None:
            if len(self._callers) >= self._sweep_at:
                self._callers = {name: caller for name, caller in self._callers.items() if not caller.is_idle}
                self._sweep_at = max(_SWEEP, 2 * len(self._callers))
            caller = Caller(identity, self._metrics, self._label(identity), self._clock)
            self._callers[identity.name] = caller
        caller.limits = identity.limits
        return caller

    def __len__(self) -> int:
        return len(self._callers)

    def _label(self, identity: Identity) -> str:
        if not identity.is_listed and identity.name not in self._labelled:
            if len(self._labelled) >= MOST_LABELLED:
                return OTHER
            self._labelled.add(identity.name)
        return identity.name


current: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""The caller of the call that is being handled; None if it needed no credential."""
