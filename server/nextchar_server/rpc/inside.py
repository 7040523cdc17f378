"""Calls from inside the process: the door through which the HTTP port reaches the handlers of gRPC's methods.

Stands beside gRPC's own server. A call has a context with the part of ``grpc.aio.ServicerContext`` that the server
uses, and runs in the handler that ``CallInterceptor`` surrounds, on the server's event loop. Its caller is on another
loop, in another thread; the messages between the two are handed over one by one.

Invariant: of a call's messages, ``_MOST_BYTES`` and one more wait for its caller at most; a call ends when its caller
leaves, and is reset if its caller takes nothing for the stall time-out, as gRPC's calls are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import structlog

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

from .interceptor import CallInterceptor
from .service import GenerationService
from .tracing import bind_trace

_MOST_BYTES = 64 * 1024  # as of a stream of gRPC

_log = structlog.get_logger()

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    code: grpc.StatusCode
    message: str
    trailers: Mapping[str, str | bytes]
    """The trailing metadata."""


class Door:
    """The methods of the service, for calls from inside. Made and closed on the server's event loop."""

    def __init__(self, interceptor: CallInterceptor, service: GenerationService) -> None:
        self._loop = asyncio.get_running_loop()
        handlers = _Handlers()
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(service, handlers)  # type: ignore[no-untyped-call]
        self._handlers = {
            method.rsplit("/", 1)[1]: interceptor.surrounded(method, handler)
            for method, handler in handlers.found.items()
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._service = service

    def model(self, name: str) -> pb.Model | None:
        """Returns the description of a model; None if there is no such model. For any loop."""
        return self._service.model(name)

    def call(self, method: str, message: bytes, peer: str, metadata: Metadata) -> InsideCall:
        """Begins a call of ``method``, such as ``Generate``, with one request message. For any loop."""
        call = InsideCall(self._loop, message, peer, metadata)
        self._loop.call_soon_threadsafe(self._begin, call, self._handlers[method])
        return call

    async def close(self, patience: float) -> None:
        """Waits ``patience`` seconds until all calls have ended, and cancels the others."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()

    def _begin(self, call: InsideCall, handler: Any) -> None:
        handle = handler.stream_stream or handler.stream_unary
        task = self._loop.create_task(call.run(handle))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Handlers:
    """Stands for a server to which a service is added."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Ignores them: they are the same."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Keeps them by method."""
        self.found.update({f"/{service}/{name}": handler for name, handler in handlers.items()})


class InsideCall:
    """One call. Its caller's methods are ``receive``, ``ended`` and ``close``; ``run`` is of the server's loop."""

    def __init__(self, server: asyncio.AbstractEventLoop, message: bytes, peer: str, metadata: Metadata) -> None:
        """To be made on the loop of the caller."""
        self._server = server
        self._caller = asyncio.get_running_loop()
        self._context = _Context(self, message, peer, metadata)
        # Of the server's loop.
        self._task: asyncio.Task[None] | None = None
        self._is_handled = False
        self._untaken = 0
        self._room = asyncio.Event()
        self._is_left = asyncio.Event()
        # Of the caller's.
        self._messages: deque[Any] = deque()
        self._news = asyncio.Event()
        self.ended: Ended | None = None
        """How it ended; None while it runs. Messages may still be there."""
        self.on_reset: Callable[[], None] | None = None
        """Called if the server gives the call up, because its caller takes nothing."""

    async def receive(self) -> Any:
        """Returns the next message; None after the last one, when it has ``ended``."""
        while not self._messages:
            if self.ended is not None:
                return None
            self._news.clear()
            await self._news.wait()
        message = self._messages.popleft()
        self._tell_server(self._taken, message.ByteSize())
        return message

    def close(self) -> None:
        """Tells that the caller has all that it wants: a call that hasn't ended is cancelled."""
        self._tell_server(self._leave)

    async def run(self, handle: Callable[[object, Any], Any]) -> None:
        """Handles the call, and waits until its caller has closed it."""
        self._task = asyncio.current_task()
        if self._is_left.is_set():
            return
        context, ended = self._context, Ended(grpc.StatusCode.CANCELLED, "", {})
        bind_trace(context.invocation_metadata())
        try:
            answer = await handle(None, context)
            if answer is not None:
                await context.write(answer)
                del answer
            ended = Ended(grpc.StatusCode.OK, "", context.trailers)
        except grpc.aio.AbortError:
            ended = Ended(context.code(), context.details, context.trailers)
        except Exception:
            _log.exception("inside_call_failed")
            ended = Ended(grpc.StatusCode.INTERNAL, "internal error", context.trailers)
        finally:
            self._is_handled = True
            self._tell_caller(self._end, ended)
        try:
            await self._is_left.wait()
        except asyncio.CancelledError:  # for too long: see ``Calls``
            self._tell_caller(self._reset)
            raise

    async def send(self, message: Any) -> None:
        """Hands a message over; waits first if the caller has too much to take."""
        while self._untaken > _MOST_BYTES:
            self._room.clear()
            await self._room.wait()
        self._untaken += message.ByteSize()
        self._tell_caller(self._arrive, message)

    def _taken(self, size: int) -> None:
        self._untaken -= size
        self._room.set()

    def _leave(self) -> None:
        self._is_left.set()
        if self._task is not None and not self._is_handled:
            self._task.cancel()

    def _arrive(self, message: Any) -> None:
        self._messages.append(message)
        self._news.set()

    def _end(self, ended: Ended) -> None:
        self.ended = ended
        self._news.set()

    def _reset(self) -> None:
        if self.on_reset is not None:
            self.on_reset()

    def _tell_server(self, act: Callable[..., None], *values: Any) -> None:
        with suppress(RuntimeError):  # it is closed
            self._server.call_soon_threadsafe(act, *values)

    def _tell_caller(self, act: Callable[..., None], *values: Any) -> None:
        with suppress(RuntimeError):
            self._caller.call_soon_threadsafe(act, *values)


class _Context:
    """The part of ``grpc.aio.ServicerContext`` that the server uses."""

    def __init__(self, call: InsideCall, message: bytes, peer: str, metadata: Metadata) -> None:
        self._call = call
        self._message: bytes | None = message
        self._peer = peer
        self._metadata = metadata
        self._code = grpc.StatusCode.OK
        self.details = ""
        self.trailers: dict[str, str | bytes] = {}

    def peer(self) -> str:
        """The caller's address."""
        return self._peer

    def invocation_metadata(self) -> Metadata:
        """The metadata of the request."""
        return self._metadata

    def time_remaining(self) -> None:
        """Returns None: no deadline."""

    def code(self) -> grpc.StatusCode:
        """The status, once it is set."""
        return self._code

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Replaces the trailing metadata."""
        self.trailers = dict(metadata)

    async def read(self) -> Any:
        """Returns the request message, then the end."""
        message, self._message = self._message, None
        return grpc.aio.EOF if message is None else message

    async def write(self, message: Any) -> None:
        """Sends a message."""
        await self._call.send(message)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with a status."""
        self._code, self.details, self.trailers = code, details, dict(trailing_metadata)
        raise grpc.aio.AbortError
