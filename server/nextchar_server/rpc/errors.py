"""The errors that callers get.

``interceptor`` turns them into a gRPC status, in one place:

    RequestError                 code, message and google.rpc details
    ├── InvalidArgumentError     INVALID_ARGUMENT    BadRequest names the field
    ├── MalformedMessageError    INVALID_ARGUMENT    the bytes are not the message of the method
    ├── NoMessageError           INVALID_ARGUMENT    the call ended, or time passed, without a message
    ├── OtherModelError          FAILED_PRECONDITION a resume token that this model can't continue
    ├── ModelNotFoundError       NOT_FOUND           from the catalog's UnknownModelError
    ├── OverloadedError          RESOURCE_EXHAUSTED  the engine's QueueFullError; RetryInfo
    │   ├── LostPlaceError       RESOURCE_EXHAUSTED  the engine's PushedOutError
    │   ├── NoMemoryError        RESOURCE_EXHAUSTED  from the budget's MemoryFullError
    │   ├── CallerStreamsError   RESOURCE_EXHAUSTED  of one caller, on any connection; RetryInfo
    │   └── CallerRateError      RESOURCE_EXHAUSTED  of one caller, on any connection; RetryInfo
    ├── StalledReaderError       RESOURCE_EXHAUSTED  from the engine's StalledError
    ├── StalledSenderError       RESOURCE_EXHAUSTED  no further message of a stream came
    ├── TooManyWatchesError      RESOURCE_EXHAUSTED  of one connection, on its health
    ├── UnauthenticatedError     UNAUTHENTICATED     no credential that is accepted
    ├── DrainingError            UNAVAILABLE         another replica may serve the call at once
    ├── NotServedError           UNIMPLEMENTED
    └── UnknownMethodError       UNIMPLEMENTED       a method that the server doesn't have

Any other exception is a bug: the caller gets INTERNAL and the request id, and the log has the rest.
"""

from __future__ import annotations

import random

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from ..catalog import UnknownModelError
from ..engine.admission import StalledError
from ..memory import MemoryFullError

_MEMORY_DELAY = 0.5, 1.5  # seconds: how soon calls end is unknown, so callers come back at different times
_SPREAD = 1.5  # how much longer than its debt a caller waits at most, so that its calls come back one after another
_DEBT_MARGIN = 1e-3  # seconds, so that who comes back in time isn't refused because of rounding


_SHOWN = 32

RESUME_TOKEN_KEY, RESUME_OFFSET_KEY = "resume-token-bin", "resume-offset"
"""Keys of the trailing metadata of a text whose reader was ended: how it continues, and after how many characters."""

MOST_TRAILING_BYTES = 5000
"""Most bytes of a token in the trailing metadata, of which clients accept 8 KiB by default, in base64."""


def shown(value: str) -> str:
    """Quotes ``value`` for a message, cut to its beginning: trailers have little room."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"


class RequestError(Exception):
    """A call can't be served. Carries the status that its caller gets."""

    code: grpc.StatusCode
    reason: str
    """Label of ``nextchar_rejected_total``."""
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    """More of the trailing metadata."""
    delay: float = 0.0
    """Seconds for which a connection that was refused often is made to wait for it; 0 if it never is."""

    def __init__(self, message: str, *details: Message) -> None:
        self.message = message
        self.details = details
        super().__init__(message)

    def tell(self, delay: float) -> None:
        """Replaces the delay, and tells it to the caller if that helps."""
        self.delay = delay


class InvalidArgumentError(RequestError):
    """A field of the request has a value that can't be served."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "invalid_argument"

    def __init__(self, field: str, description: str) -> None:
        self.field = field
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
        super().__init__(f"{field}: {description}", error_details_pb2.BadRequest(field_violations=[violation]))


class MalformedMessageError(RequestError):
    """The bytes of a message can't be parsed."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "malformed_message"

    def __init__(self, kind: str, trouble: str) -> None:
        """``kind`` is the name of the message that was expected."""
        super().__init__(f"the message is not a valid {kind}: {trouble}")


class NoMessageError(RequestError):
    """A call sent no message."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "no_message"


class OtherModelError(RequestError):
    """The resume token is good, but of another model file, numeric class or version."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "other_model"


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

    def __init__(self, message: str, delay: float) -> None:
        """``delay`` is the number of seconds after which the caller should try again."""
        super().__init__(message)
        self.tell(delay)

    def tell(self, delay: float) -> None:
        """Replaces the delay, after which the caller should try again."""
        super().tell(delay)
        pause = Duration()
        pause.FromMilliseconds(round(1000 * delay))
        self.details = (error_details_pb2.RetryInfo(retry_delay=pause),)


class LostPlaceError(OverloadedError):
    """The call's place in the queue went to another connection."""

    reason = "pushed_out"


class NoMemoryError(OverloadedError):
    """The memory budget has no room for the call."""

    reason = "memory"


class CallerStreamsError(OverloadedError):
    """The caller has as many texts at once as it may."""

    reason = "caller_streams"

    def __init__(self, most: int) -> None:
        super().__init__(f"you have {most} texts at once already, which is the most", random.uniform(*_MEMORY_DELAY))  # noqa: S311 - no secret


class CallerRateError(OverloadedError):
    """The caller has had as many characters as it may for now."""

    reason = "caller_rate"

    def __init__(self, rate: int, debt: float) -> None:
        """``debt`` is the number of seconds until its characters are within ``rate`` per second."""
        delay = debt * random.uniform(1, _SPREAD) + _DEBT_MARGIN  # noqa: S311 - no secret
        super().__init__(f"you have had more than {rate} characters per second", delay)


class UnauthenticatedError(RequestError):
    """The call has no credential that is accepted. Whoever guesses tokens learns no more than that."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "unauthenticated"
    delay = 1.0

    def __init__(self) -> None:
        super().__init__("no valid credential: send the metadata `authorization: Bearer TOKEN` with a token of yours")


class StalledReaderError(RequestError):
    """The caller didn't read its messages."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "stalled"

    def __init__(self, message: str, resume_token: bytes = b"", offset: int = 0) -> None:
        """``resume_token`` continues a text after its first ``offset`` characters, if it isn't empty."""
        super().__init__(message)
        if 0 < len(resume_token) <= MOST_TRAILING_BYTES:
            self.trailers = ((RESUME_TOKEN_KEY, resume_token), (RESUME_OFFSET_KEY, str(offset)))


class StalledSenderError(RequestError):
    """The caller sent no further message of a stream that it didn't end."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "stalled"


class TooManyWatchesError(RequestError):
    """A connection watches the health as often as it may."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "watches"

    def __init__(self, most: int) -> None:
        """``most`` is the number of watches that one connection may have."""
        super().__init__(f"this connection has {most} watches already, which is the most")


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


class UnknownMethodError(RequestError):
    """The server has no method of that name."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "unknown_method"

    def __init__(self) -> None:
        super().__init__("this server has no such method")


def request_error(error: Exception) -> RequestError | None:
    """Returns the error that the caller gets for ``error``; None if it is a bug."""
    match error:
        case RequestError():
            return error
        case MemoryFullError():
            return NoMemoryError(str(error), random.uniform(*_MEMORY_DELAY))  # noqa: S311 - no secret
        case StalledError():
            return StalledReaderError(str(error))
        case UnknownModelError():
            return ModelNotFoundError(error.name, error.names)
    return None
