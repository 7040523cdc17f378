"""The tries of one call: which failures are worth another try, and how long to pause before it.

Trying again is safe, because generating has no side effect; ``continuation.py`` sees to it that the caller gets nothing
twice. Our own and not gRPC's retries, because gRPC pauses for as long as a server asks, without a limit, tries at most
five times, and never once something has come.
Invariant: no pause is longer than ``MOST_PAUSE`` and a quarter, and none ends after the timeout of the call or
``MOST_SECONDS`` after its start or its last progress.
"""

from __future__ import annotations

import asyncio
import random
import time

import grpc
import grpc.aio

from .trace_context import trace_metadata

MOST_SECONDS = 60.0
"""How long after its start, or after the last new text, a call is still tried again."""
MOST_PAUSE = 10.0
"""Longest pause before a try, in seconds, even if the server asks for a longer one; up to a quarter is added."""
MOST_TRIES_ALONE = 5
"""Tries of a call that the only server doesn't take. Those of one that a busy server turns away have no limit but
``MOST_SECONDS``."""
MOST_TRIES = 10
"""Tries with several servers, or of a text that was cut, without new text in between. They take some 11 seconds: a
server may start again."""

_FIRST_PAUSE = 0.1
_LONGEST_GROWN_PAUSE = 2.0
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_TRIES_KEY = "nextchar-tries"
_SPREAD = 0.25  # callers that were turned away together come back apart

_draw = random.Random()  # noqa: S311 - a pause is no secret


class Retries:
    """The tries of a call that starts now."""

    def __init__(self, timeout: float | None, *, servers: int = 1) -> None:
        """The call may take ``timeout`` seconds in all, None means no limit; this many ``servers`` can take it."""
        self._is_alone = servers == 1
        self._began = self._progressed = time.monotonic()
        self._timeout = timeout
        self._failures = 0
        self._trace = trace_metadata()

    @property
    def seconds_left(self) -> float | None:
        """The timeout of the next try, in seconds."""
        return None if self._timeout is None else max(0.0, self._timeout - self._passed)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of the next try: the trace, and how often the call was turned away: then a server prefers it."""
        return ((_TRIES_KEY, str(self._failures)), *self._trace) if self._failures else self._trace

    def progressed(self) -> None:
        """Notes that new text came: failures before it don't count any more."""
        self._progressed = time.monotonic()
        self._failures = 0

    async def pause(self, failure: grpc.aio.AioRpcError | None, *, is_cut: bool = False) -> bool:
        """Waits until it is time for another try after ``failure``. Returns False at once if there should be none.

        None stands for a server that answered in good order and yet has to be replaced by another: it drains, say. If
        the failure ``is_cut``, a text had begun: the server took the call, so it isn't full.
        """
        self._failures += 1
        seconds = self._pause_after(failure, is_cut=is_cut)
        left = MOST_SECONDS - (time.monotonic() - self._progressed)
        if self._timeout is not None:
            left = min(left, self._timeout - self._passed)
        if seconds is None or seconds >= left:
            return False
        await asyncio.sleep(seconds)
        return True

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began

    def _pause_after(self, failure: grpc.aio.AioRpcError | None, *, is_cut: bool) -> float | None:
        """Seconds to wait after ``failure``; None if another try is pointless or the server forbids it."""
        if not self._is_worth_a_try(failure, is_cut=is_cut):
            return None
        asked = None if failure is None else failure.trailing_metadata().get(_PUSHBACK_KEY)
        if asked is None:
            grown = min(_FIRST_PAUSE * 2.0 ** (self._failures - 1), _LONGEST_GROWN_PAUSE)
            return grown * _draw.uniform(1 - _SPREAD, 1 + _SPREAD)
        try:
            seconds = int(asked) / 1000
        except ValueError:
            return None  # as gRPC has it: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
        return None if seconds < 0 else min(seconds, MOST_PAUSE) * _draw.uniform(1, 1 + _SPREAD)

    def _is_worth_a_try(self, failure: grpc.aio.AioRpcError | None, *, is_cut: bool) -> bool:
        is_first = self._progressed == self._began
        has_tries = self._failures < (MOST_TRIES_ALONE if self._is_alone and is_first else MOST_TRIES)
        if failure is None:
            return has_tries
        match failure.code():
            case grpc.StatusCode.UNAVAILABLE:
                return has_tries
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                is_too_large = "message larger than max" in (failure.details() or "")  # and stays so
                return not is_too_large and (has_tries or not is_cut)
            case grpc.StatusCode.CANCELLED:
                # By gRPC in the server, which dropped the call before any code of ours saw it.
                return _is_by_transport(failure)
            case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN:
                # A stream that was reset, a connection of damaged bytes, or a page of a proxy.
                return has_tries and _is_by_transport(failure)
        return False


def _is_by_transport(failure: grpc.aio.AioRpcError) -> bool:
    """Whether ``failure`` comes from gRPC or a proxy: every status of the server itself has the request's id."""
    return "request-id" not in failure.trailing_metadata()
