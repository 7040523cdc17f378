"""Everything that can go wrong in a call, as one tree of exceptions.

A call raises only these, plus a plain ``TypeError`` for a wrong Python type or an unknown keyword, and ``RuntimeError``
if the client is closed or was made in another process. Each class stands for a gRPC status::

    NextcharError                   any other status, such as UNKNOWN
    ├── InvalidArgumentError        INVALID_ARGUMENT; also raised, without a status, before a call is made
    ├── NotFoundError               NOT_FOUND: no such model or health service
    ├── FailedPreconditionError     FAILED_PRECONDITION
    ├── UnauthenticatedError        UNAUTHENTICATED: no token, or not a valid one
    ├── PermissionDeniedError       PERMISSION_DENIED: the caller is known, and may not do that
    ├── ResourceExhaustedError      RESOURCE_EXHAUSTED: the server is full, or a message is too large
    ├── UnavailableError            UNAVAILABLE: no server answers, or it is loading or shutting down
    ├── DeadlineExceededError       DEADLINE_EXCEEDED: ``timeout`` passed
    ├── CallCancelledError          CANCELLED by the server, or the client was closed during the call
    ├── UnimplementedError          UNIMPLEMENTED: this version of the server can't do that
    └── InternalError               INTERNAL: a bug in the server; its log has the request id
        ├── IncompleteStreamError   the events of a stream don't make a whole text; without a status
        └── DivergedError           no server continues a text that was cut as it began; without a status
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command's help needs these classes and no gRPC
    import grpc
    import grpc.aio


class NextcharError(Exception):
    """A call failed.

    ``status`` is the gRPC status, or None if no server was asked or the stream ended with OK. ``request_id``
    identifies the call in the server's log; it is None if the server sent none.
    """

    def __init__(self, message: str, *, status: grpc.StatusCode | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id


class InvalidArgumentError(NextcharError):
    """A parameter is invalid; the message names it."""


class NotFoundError(NextcharError):
    """The server has no model or health service of that name."""


class FailedPreconditionError(NextcharError):
    """The request is well formed, but this server can't serve it in its present state."""


class UnauthenticatedError(NextcharError):
    """The token is missing, wrong, expired or revoked."""


class PermissionDeniedError(NextcharError):
    """The server knows the caller, who may not do that."""


class ResourceExhaustedError(NextcharError):
    """The server stayed full through all retries, or a message is larger than gRPC allows."""


class UnavailableError(NextcharError):
    """No server answered, or it took no calls, through all retries; or it went away during the call."""


class DeadlineExceededError(NextcharError):
    """The timeout of the call passed."""


class CallCancelledError(NextcharError):
    """The server cancelled the call, or the client was closed while the call ran."""


class UnimplementedError(NextcharError):
    """This version of the server can't do that."""


class InternalError(NextcharError):
    """A bug in the server."""


class IncompleteStreamError(InternalError):
    """The text of a call isn't whole: events are missing, repeated or out of order, or contradict each other.

    The message says which one was expected. A server or a proxy lost messages.
    """


class DivergedError(InternalError):
    """The text was cut, and another server, which should continue it, has another model or generates other text.

    The message says what differs. Servers that share an endpoint should have the same model files, on machines of one
    numeric class.
    """


_CLASSES: dict[str, type[NextcharError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "CANCELLED": CallCancelledError,
    "UNIMPLEMENTED": UnimplementedError,
    "INTERNAL": InternalError,
}


def error_of_call(failure: grpc.aio.AioRpcError) -> NextcharError:
    """The exception for a call that failed with a gRPC status."""
    status = failure.code()
    request_id = failure.trailing_metadata().get("request-id")
    message = failure.details() or f"the server sent {status.name} without details"
    return _CLASSES.get(status.name, NextcharError)(
        message, status=status, request_id=None if request_id is None else str(request_id)
    )
