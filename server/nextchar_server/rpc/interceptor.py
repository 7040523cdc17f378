"""The interceptor: surrounds every call, also those of methods that the server doesn't have.

Adds a request id, the call metrics and a line in the log, and parses the messages. The one place in which an
exception becomes a status.

Invariant: a call that reaches the event loop is counted when it starts and when it ends, and ends with its request id;
of an unexpected error, a caller learns the request id and nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc
import structlog

from ..access.callers import Caller
from ..memory import Holding
from ..metrics import MethodMetrics, Metrics
from . import facts
from .call_log import LINES, LINES_OF_SERVED_CALLS, LineLimit
from .calls import Calls
from .errors import NoMessageError, NotServedError, RequestError, UnknownMethodError, request_error
from .gate import Gate
from .incoming import Incoming
from .resets import Resets
from .spans import CallSpans, Spans
from .status import REQUEST_ID_KEY, abort
from .tracing import bind_trace

_UNKNOWN = "unknown"
_UNKNOWN_METHOD = f"/{_UNKNOWN}/{_UNKNOWN}"  # stands for all that the server doesn't have: callers choose their names
TYPES = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}
"""Label of a method's type, by whether requests and responses are streams."""

UNREADABLE = (grpc.StatusCode.RESOURCE_EXHAUSTED, "unreadable_message")
"""Of a message that gRPC itself refuses: too large, as it is or unpacked, or damaged. It says no more to a handler than
that no message came."""

# A caller cancels when its deadline passes, which is just before the server's own clock says so.
_DEADLINE_SLACK = 0.02
_DEADLINE_SLACK_SHARE = 0.02  # gRPC rounds a deadline up before it sends it

_log = structlog.get_logger()
_request_id: ContextVar[str] = ContextVar("request_id")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def request_id() -> str:
    """Returns the identifier of the call that is being handled."""
    return _request_id.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of every call."""

    def __init__(
        self,
        metrics: Metrics,
        incoming: Incoming,
        calls: Calls,
        resets: Resets,
        gate: Gate | None = None,
        spans: Spans | None = None,
    ) -> None:
        """Without a ``gate``, everybody may call; without ``spans``, calls have none."""
        self._gate = gate
        self._spans = spans
        self._metrics = metrics
        self._calls = calls
        self._resets = resets
        self._incoming = incoming
        self._lines = LineLimit()
        self._handlers: dict[str, Handler] = {}  # wrapped, by method
        self._unknown = _Call(metrics, self._lines, calls, resets, gate, spans, _UNKNOWN_METHOD, _UNKNOWN)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler. Runs in the task of the call, so a field that it binds to the log ends with the call."""
        bind_trace(handler_call_details.invocation_metadata)
        method: str = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler = await continuation(handler_call_details)
        if handler is not None:
            handler = self._handlers[method] = self._wrapped(method, handler)
        return handler

    def surrounded(self, method: str, handler: Handler) -> Handler:
        """Returns the handler of calls of ``method`` that come another way than gRPC's."""
        if method not in self._handlers:
            self._handlers[method] = self._wrapped(method, handler)
        return self._handlers[method]

    async def refuse(self, context: Context) -> None:
        """Handles a call of a method that the server doesn't have."""
        with suppress(UnicodeDecodeError):  # of metadata that isn't text
            bind_trace(context.invocation_metadata())
        async with self._unknown.handled(context):
            raise UnknownMethodError

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        """Returns the handler that gRPC gets: it takes a stream of bytes, whatever the method takes.

        gRPC lets a call hang that should bring one message and ends without any, and answers a message that can't be
        parsed before it calls the handler.
        """
        kind = TYPES[handler.request_streaming, handler.response_streaming]
        call = _Call(self._metrics, self._lines, self._calls, self._resets, self._gate, self._spans, method, kind)
        incoming, deserialize = self._incoming, handler.request_deserializer

        if handler.request_streaming:
            answer: Any = handler.stream_stream

            async def handle_call(context: Context) -> Any:
                async with call.handled(context), aclosing(incoming.messages(context, deserialize)) as messages:
                    await answer(messages, context)

        else:
            handle: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary

            # A streaming handler writes to its context instead of yielding, so that a cancelled call ends at once and
            # not when a generator is collected.
            async def handle_call(context: Context) -> Any:
                async with call.handled(context):
                    return await handle(await incoming.message(context, deserialize), context)

        async def handled(_: object, context: Context) -> Any:
            try:
                return await handle_call(context)
            except grpc.aio.AbortError as error:
                # gRPC keeps the error with the call, and the frames of its traceback keep the call and the message: all
                # of them would wait for the garbage collector.
                raise error.with_traceback(None) from None
            finally:
                del context

        wrap: Any = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        wrapped: Handler = wrap(handled, None, handler.response_serializer)
        return wrapped


class _Call:
    """Surrounds the calls of one method."""

    def __init__(
        self,
        metrics: Metrics,
        lines: LineLimit,
        calls: Calls,
        resets: Resets,
        gate: Gate | None,
        spans: Spans | None,
        method: str,
        kind: str,
    ) -> None:
        """``kind`` is the label of its type."""
        self._spans = spans
        self._gate = gate if gate is not None and gate.guards(method) else None
        self._calls = calls
        self._resets = resets
        self._lines = lines
        self._method = method
        service, name = method.removeprefix("/").rsplit("/", 1)
        self._labels = (kind, service, name)
        self._metrics = metrics
        self._counted = MethodMetrics(metrics, *self._labels)
        # Health probes come every few seconds for ever.
        self._log = _log.debug if service.startswith("grpc.health.") else _log.info

    @asynccontextmanager
    async def handled(self, context: Context) -> AsyncIterator[None]:
        """Surrounds the handling of one call."""
        identifier, peer = secrets.token_hex(8), context.peer()
        token = _request_id.set(identifier)
        known = facts.Facts()
        facts.current.set(known)
        structlog.contextvars.bind_contextvars(request_id=identifier)
        context.set_trailing_metadata(((REQUEST_ID_KEY, identifier),))
        self._counted.begin()
        spans = None if self._spans is None else self._spans.begin(self._method, context, known)
        deadline = context.time_remaining()
        code = grpc.StatusCode.CANCELLED  # by its caller, or by its deadline: both arrive as CancelledError
        holding: Holding | None = None
        caller: Caller | None = None
        try:
            with self._calls.handling(peer) as holding:
                if self._gate is None:
                    yield
                else:
                    caller = await self._gate.caller(context)
                    with self._gate.entered(self._method, caller):
                        yield
            code = grpc.StatusCode.OK
        except grpc.aio.AbortError:  # the handler of health, which isn't ours, set its own status
            code = context.code()
            raise
        except grpc.aio.InternalError:
            # gRPC could not send a message: the caller left while it was being written.
            _log.debug("caller_gone", method=self._method)
        except Exception as error:
            refusal = self._refusal(error, context)
            if refusal is not None:
                error.__traceback__ = error.__context__ = None  # their frames refer to it, and to the message
                code, reason = refusal.code, refusal.reason
                try:
                    if refusal.delay:
                        await self._calls.pause(peer, refusal, holding)
                    await abort(context, identifier, refusal)
                except (grpc.aio.InternalError, asyncio.CancelledError) as failure:
                    if isinstance(refusal, NoMessageError):  # gRPC itself refused the message, and ended the call
                        code, reason = UNREADABLE
                    if isinstance(failure, grpc.aio.InternalError):
                        # The caller left, or its first message is still unsent, behind which gRPC takes no status.
                        self._calls.reset()
                        raise asyncio.CancelledError from None
                    raise
                finally:
                    self._metrics.rejected.labels(reason).inc()
            code = grpc.StatusCode.INTERNAL
            if (left_out := self._lines.left_out(("call_failed", self._labels))) is not None:
                _log.exception("call_failed", method=self._method, left_out=left_out)
            await context.abort(code, f"internal error; request id {identifier}", ((REQUEST_ID_KEY, identifier),))
        finally:
            self._end(peer, code, deadline, caller, spans)
            structlog.contextvars.unbind_contextvars("request_id")
            _request_id.reset(token)

    def _end(
        self,
        peer: str,
        code: grpc.StatusCode,
        deadline: float | None,
        caller: Caller | None,
        spans: CallSpans | None,
    ) -> None:
        """Counts and logs the end of a call of ``peer``, which had ``deadline`` seconds."""
        known, ended = facts.current.get(), time.monotonic()
        seconds, name = ended - known.started, caller.name if caller is not None else ""
        if code is grpc.StatusCode.CANCELLED and deadline is not None:
            slack = max(_DEADLINE_SLACK, _DEADLINE_SLACK_SHARE * deadline)
            if deadline - seconds <= slack:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
        if code is grpc.StatusCode.CANCELLED:
            self._resets.count(peer, seconds)
        self._counted.end(code.name, seconds, known.exemplar)
        if caller is not None:
            caller.count(code.name)
        most = LINES_OF_SERVED_CALLS if code is grpc.StatusCode.OK else LINES
        if (left_out := self._lines.left_out((self._labels, code), most)) is not None:
            more = known.fields(name)
            if left_out:
                more["left_out"] = left_out
            self._log(
                "call",
                method=self._method,
                code=code.name,
                seconds=round(seconds, 6),
                peer=peer,
                **more,
            )
        if spans is not None:
            spans.end(code, ended, request_id=request_id(), peer=peer, caller=name)

    def _refusal(self, error: Exception, context: Context) -> RequestError | None:
        """Returns the error that the caller gets for ``error``; None if it is a bug."""
        if isinstance(error, NotImplementedError) and context.code() is grpc.StatusCode.UNIMPLEMENTED:
            return NotServedError(self._method)  # the generated code's own handler, such as that of Health.List
        return request_error(error)
