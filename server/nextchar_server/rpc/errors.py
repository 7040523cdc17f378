"""What the server says when a call cannot be served.

Raised anywhere below the service, turned into a gRPC status in one place, ``interceptor``:

    RequestError                 code, message and google.rpc details
    ├── InvalidArgumentError     INVALID_ARGUMENT    BadRequest names the field
    ├── UnknownModelError        NOT_FOUND
    ├── QueueFullError           RESOURCE_EXHAUSTED  RetryInfo
    ├── DrainingError            UNAVAILABLE         another replica may serve it at once
    └── NotServedError           UNIMPLEMENTED

Whatever else is raised is a bug: INTERNAL with the request's id and nothing more; the log has the rest.
"""

from __future__ import annotations

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2

RETRY_DELAY = Duration(nanos=500_000_000)
"""When to try again where the server is full: longer than a turn, shorter than patience."""


_SHOWN = 32


def shown(value: str) -> str:
    """``value`` as a message quotes it: the beginning is enough, and trailers have little room."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"


class RequestError(Exception):
    """A call that cannot be served, with what its caller is told."""

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


class UnknownModelError(RequestError):
    """The server has no model of that name."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "unknown_model"

    def __init__(self, name: str, names: list[str]) -> None:
        super().__init__(f"no model {shown(name)}; this server has {', '.join(names)}")


class QueueFullError(RequestError):
    """As many streams wait as may."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "queue_full"

    def __init__(self, held: int) -> None:
        super().__init__(
            f"the server is full: it holds {held} requests already",
            error_details_pb2.RetryInfo(retry_delay=RETRY_DELAY),
        )


class DrainingError(RequestError):
    """The server is shutting down and takes no new calls."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "draining"

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class NotServedError(RequestError):
    """The contract has it, this version of the server does not."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "unimplemented"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not served by this version")
