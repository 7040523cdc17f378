"""gRPC's own server, made fit for callers who choose the name of a method freely.

A name is any bytes. gRPC's server decodes the name of each method that it doesn't know, outside of every handler, and
stops serving for good at the first one that isn't UTF-8. This one never looks at those names.

Invariant: no caller ends the server, or fills its log.

Relies on names of grpcio that are not public; ``tests/integration/test_door.py`` fails if they change.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from .call_log import LineLimit

_log = structlog.get_logger()

Refuse = Callable[[Any], Awaitable[None]]
"""Handles the call of a context."""

Shuns = Callable[[str], bool]
"""Tells of a connection whether its next call must be dropped."""


def make_core(
    interceptors: Sequence[grpc.aio.ServerInterceptor], options: Sequence[tuple[str, Any]], refuse: Refuse, shuns: Shuns
) -> grpc.aio.Server:
    """Returns a gRPC server that lets ``refuse`` handle the calls of all methods that it doesn't have.

    It drops the calls of connections that ``shuns`` names, before they cost more than that.
    """

    class Core(cygrpc.AioServer):  # type: ignore[misc]
        async def _request_registered_call(self, method: bytes) -> Any:
            """Accepts the next call of ``method``."""
            while True:
                state = await super()._request_registered_call(method)
                if not _is_shunned(state, shuns):
                    return state

        async def _request_call(self) -> Any:
            """Accepts calls of unknown methods, one after another, until the server stops."""
            loop = asyncio.get_running_loop()
            refused = set()  # the loop itself keeps no task alive
            while True:
                state = await super()._request_call()
                if _is_shunned(state, shuns):
                    continue
                task = loop.create_task(_refuse(state, refuse, loop))
                refused.add(task)
                task.add_done_callback(refused.discard)

    logging.getLogger(cygrpc.__name__).addFilter(_Lines().filter)
    # gRPC also prints tracebacks of such calls, past every log.
    cygrpc.traceback = SimpleNamespace(format_exception=traceback.format_exception, print_exc=lambda: None)
    original = cygrpc.AioServer
    cygrpc.AioServer = Core
    try:
        return grpc.aio.server(interceptors=interceptors, options=options)
    finally:
        cygrpc.AioServer = original


class _Lines:
    """The lines of gRPC that callers can cause."""

    def __init__(self) -> None:
        self._limit = LineLimit()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether ``record`` is written: at most some per second, and none that quotes a caller."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UnicodeDecodeError | asyncio.CancelledError):
            return False  # a header field that isn't text; a call that was over before its handler began
        if isinstance(error, grpc.aio.InternalError):  # the caller left meanwhile: the traceback tells nothing more
            record.exc_info = None
        return self._limit.left_out(record.levelno) is not None


def _is_shunned(state: Any, shuns: Shuns) -> bool:
    try:
        return shuns(_context(state).peer())
    except Exception:  # here, it would end the server
        _log.exception("shun_failed")
        return False


async def _refuse(state: Any, refuse: Refuse, loop: asyncio.AbstractEventLoop) -> None:
    await cygrpc._schedule_rpc_coro(refuse(_context(state)), state, loop, "unknown")


def _context(state: Any) -> Any:
    return cygrpc._ServicerContext(state, None, None, asyncio.get_running_loop())
