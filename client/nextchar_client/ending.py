"""How a call ended that was still being sent.

Invariant: the status that the server sent is the one that is raised. ``grpc.aio`` replaces it with INTERNAL if a write
fails because the call has ended (https://github.com/grpc/grpc/issues/36066).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

T = TypeVar("T")

_LATE_SECONDS = 1.0
"""How long the server's status is waited for after a write failed. It is there at once, unless the write failed in this
process, and then it may never come."""


class Ending:
    """Records the status of ``call``, before any write to it."""

    def __init__(self, call: Any) -> None:
        self._told: asyncio.Future[grpc.aio.AioRpcError] = asyncio.get_running_loop().create_future()
        call.add_done_callback(self._ended)

    async def cause(self, failure: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The error that ended the call: ``failure``, unless that only tells that a write failed."""
        if _is_of_a_write(failure):
            with suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._told), _LATE_SECONDS)
        return failure

    def _ended(self, call: Any) -> None:
        """Called whenever the call gets a status: the server's, a write's, or both, in any order."""
        error = grpc.aio.AioRpcError(
            _value(call.code()),
            _value(call.initial_metadata()),
            _value(call.trailing_metadata()),
            details=_value(call.details()),
            debug_error_string=_value(call.debug_error_string()),
        )
        if not self._told.done() and not _is_of_a_write(error):
            self._told.set_result(error)


def _is_of_a_write(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and "SendMessageOperation" in (error.debug_error_string() or "")


def _value(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a ``coroutine`` that has nothing to wait for: the call has a status."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise RuntimeError("gRPC called back before the call had a status")
