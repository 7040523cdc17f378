"""Everything that can go wrong in a call, as one tree of exceptions.

A call raises these and nothing else of its own; a wrong Python type or an unknown keyword is a plain
``TypeError``. A class stands for a gRPC status::

    NextcharError                   any other status, such as UNKNOWN
    ├── InvalidArgumentError        INVALID_ARGUMENT; also raised, without a status, before a call is made
    ├── NotFoundError               NOT_FOUND: no such model or health service
    ├── FailedPreconditionError     FAILED_PRECONDITION
    ├── UnauthenticatedError        UNAUTHENTICATED
    ├── ResourceExhaustedError      RESOURCE_EXHAUSTED: the server's queue is full, or a message is too large
    ├── UnavailableError            UNAVAILABLE: no server answers, or it is loading or shutting down
    ├── DeadlineExceededError       DEADLINE_EXCEEDED: ``timeout`` passed
    ├── CallCancelledError          CANCELLED by the server, or the client was closed during the call
    ├── UnimplementedError          UNIMPLEMENTED: this server cannot do that yet
    ├── InternalError               INTERNAL: a bug in the server; its log knows the request id
    └── IncompleteStreamError       the stream ended with OK, but without its last event
"""

from __future__ import annotations

import grpc
import grpc.aio


class NextcharError(Exception):
    """A call failed.

    ``status`` is the gRPC status, or None where no server was asked or none was sent. ``request_id`` is
    the call's identifier in the server's log, or None where the server sent none.
    """

    def __init__(self, message: str, *, status: grpc.StatusCode | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


class InvalidArgumentError(NextcharError):
    """A parameter is bad; the message names it."""


class NotFoundError(NextcharError):
    """The server has no model or health service of that name."""


class FailedPreconditionError(NextcharError):
    """The request is well formed, but not for this server as it is."""


class UnauthenticatedError(NextcharError):
    """The credential is missing or wrong."""


class ResourceExhaustedError(NextcharError):
    """The server's queue stayed full through all retries, or a message is larger than gRPC allows."""


class UnavailableError(NextcharError):
    """No server answers, or it takes no calls now, through all retries; or it went away during the call."""


class DeadlineExceededError(NextcharError):
    """The timeout of the call passed."""


class CallCancelledError(NextcharError):
    """The server cancelled the call, or the client was closed while the call ran."""


class UnimplementedError(NextcharError):
    """This server does not offer that."""


class InternalError(NextcharError):
    """A bug in the server."""


class IncompleteStreamError(NextcharError):
    """A stream ended with status OK, but without ``Finished``: what it gave may not be all."""


_CLASSES: dict[grpc.StatusCode, type[NextcharError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def error_of_call(failure: grpc.aio.AioRpcError) -> NextcharError:
    """The exception for a call that failed with a gRPC status."""
    status = failure.code()
    request_id = failure.trailing_metadata().get("request-id")
    message = failure.details() or f"the server gave no details with {status.name}"
    return _CLASSES.get(status, NextcharError)(
        message, status=status, request_id=None if request_id is None else str(request_id)
    )
