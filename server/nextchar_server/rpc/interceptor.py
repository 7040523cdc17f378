"""The interceptor: surrounds every call of a known method, except those of reflection.

Adds a request id, the call metrics and a line in the log. The one place in which an exception becomes a
status.

Invariant: of an unexpected error, a caller learns the request id and nothing else; the log has the rest.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from ..metrics import Metrics
from .errors import RequestError, request_error

REQUEST_ID_KEY = "request-id"
"""Key of the request id in the trailing metadata of every call."""

_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_log = structlog.get_logger()
_request_id: ContextVar[str] = ContextVar("request_id")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def request_id() -> str:
    """Returns the identifier of the call that is being handled."""
    return _request_id.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of every call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._handlers: dict[str, Handler] = {}  # wrapped, by method

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps the handler. Handlers of request streams, which only reflection has, are returned as they are."""
        method: str = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:  # an unknown method, or reflection
            return handler
        handle: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
        call = _Call(self._metrics, method, streams=handler.response_streaming)

        # A streaming handler writes to its context instead of yielding, so that a cancelled call ends at once and not
        # when a generator is collected.
        async def handled(request: Any, context: Context) -> Any:
            async with call.handled(context):
                return await handle(request, context)

        wrap: Any = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        self._handlers[method] = wrap(handled, handler.request_deserializer, handler.response_serializer)
        return self._handlers[method]


class _Call:
    """Surrounds the calls of one method."""

    def __init__(self, metrics: Metrics, method: str, *, streams: bool) -> None:
        self._metrics = metrics
        self._method = method
        service, name = method.removeprefix("/").rsplit("/", 1)
        self._labels = ("server_stream" if streams else "unary", service, name)
        # Health probes come every few seconds for ever.
        self._log = _log.debug if service.startswith("grpc.health.") else _log.info

    @asynccontextmanager
    async def handled(self, context: Context) -> AsyncIterator[None]:
        """Surrounds the handling of one call."""
        metrics, labels = self._metrics, self._labels
        identifier = secrets.token_hex(8)
        token = _request_id.set(identifier)
        structlog.contextvars.bind_contextvars(request_id=identifier)
        context.set_trailing_metadata(((REQUEST_ID_KEY, identifier),))
        metrics.calls_started.labels(*labels).inc()
        started = time.monotonic()
        code = grpc.StatusCode.CANCELLED  # by its caller, or by its deadline: both arrive as CancelledError
        try:
            yield
            code = grpc.StatusCode.OK
        except grpc.aio.AbortError:  # the handler of health, which isn't ours, set its own status
            code = context.code()
            raise
        except grpc.aio.InternalError:
            # gRPC could not send a message: the caller left while it was being written.
            _log.debug("caller_gone", method=self._method)
        except Exception as error:
            refusal = request_error(error)
            if refusal is not None:
                code = refusal.code
                metrics.rejected.labels(refusal.reason).inc()
                await _abort(context, identifier, refusal)
            code = grpc.StatusCode.INTERNAL
            _log.exception("call_failed", method=self._method)
            await context.abort(code, f"internal error; request id {identifier}", ((REQUEST_ID_KEY, identifier),))
        finally:
            seconds = time.monotonic() - started
            remaining = context.time_remaining()
            if code is grpc.StatusCode.CANCELLED and remaining is not None and remaining <= 0:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            metrics.calls_handled.labels(*labels, code.name).inc()
            metrics.call_seconds.labels(*labels).observe(seconds)
            self._log("call", method=self._method, code=code.name, seconds=round(seconds, 6), peer=context.peer())
            structlog.contextvars.unbind_contextvars("request_id")
            _request_id.reset(token)


async def _abort(context: Context, identifier: str, error: RequestError) -> NoReturn:
    details = []
    trailers = [(REQUEST_ID_KEY, identifier)]
    for detail in error.details:
        packed = AnyMessage()
        packed.Pack(detail)
        details.append(packed)
        if isinstance(detail, RetryInfo):  # the same delay for gRPC's own retries, which don't read the details
            trailers.append((_PUSHBACK_KEY, str(detail.retry_delay.ToMilliseconds())))
    status = rpc_status.to_status(Status(code=error.code.value[0], message=error.message, details=details))
    await context.abort(status.code, status.details, (*trailers, *status.trailing_metadata))
