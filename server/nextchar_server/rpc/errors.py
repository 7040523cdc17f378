"""The errors that callers get.

``interceptor`` turns them into a gRPC status, in one place:

    RequestError                 code, message and google.rpc details
    ├── InvalidArgumentError     INVALID_ARGUMENT    BadRequest names the field
    ├── ModelNotFoundError       NOT_FOUND           from the catalog's UnknownModelError
    ├── OverloadedError          RESOURCE_EXHAUSTED  from the engine's QueueFullError; RetryInfo
    ├── DrainingError            UNAVAILABLE         another replica may serve the call at once
    └── NotServedError           UNIMPLEMENTED

Any other exception is a bug: the caller gets INTERNAL and the request id, and the log has the rest.
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from ..catalog import UnknownModelError
from ..engine.admission import QueueFullError

RETRY_DELAY = Duration(nanos=500_000_000)
"""When a caller should try again if the server is full: longer than a turn, shorter than a person's patience."""


_SHOWN = 32


def shown(value: str) -> str:
    """Quotes ``value`` for a message, cut to its beginning: trailers have little room."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"


class RequestError(Exception):
    """A call can't be served. Carries the status that its caller gets."""

    code: grpc.StatusCode
    reason: str
    """Label of ``nextchar_rejected_total``."""

    def __init__(self, message: str, *details: Message) -> None:
        self.message = message
        self.details = details
        super().__init__(message)


class InvalidArgumentError(RequestError):
    """A field of the request has a value that can't be served."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "invalid_argument"

    def __init__(self, field: str, description: str) -> None:
        self.field = field
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        super().__init__(f"{field}: {description}", error_details_pb2.BadRequest(field_violations=[violation]))


class ModelNotFoundError(RequestError):
    """The server has no model of that name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "unknown_model"

    def __init__(self, name: str, names: list[str]) -> None:
        super().__init__(f"no model {shown(name)}; this server has {', '.join(names)}")


class OverloadedError(RequestError):
    """The queue of the model is full."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "queue_full"

    def __init__(self, message: str) -> None:
        super().__init__(message, error_details_pb2.RetryInfo(retry_delay=RETRY_DELAY))


class DrainingError(RequestError):
    """The server is shutting down and takes no new calls."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "draining"

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class NotServedError(RequestError):
    """The protocol has it, but this version of the server doesn't."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "unimplemented"

    def __init__(self, feature: str) -> None:
        super().__init__(f"{feature} is not served by this version")


def request_error(error: Exception) -> RequestError | None:
    """Returns the error that the caller gets for ``error``; None if it is a bug."""
    match error:
        case RequestError():
            return error
        case QueueFullError():
            return OverloadedError(str(error))
        case UnknownModelError():
            return ModelNotFoundError(error.name, error.names)
    return None
