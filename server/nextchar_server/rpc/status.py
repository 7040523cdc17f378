"""The status with which a refused call ends: its code, its message and its trailing metadata.

Sent by the interceptor.

Invariant: it has the request id and the label of the refusal in the metrics; a delay is also told to gRPC's own
retries, which don't read details.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from .errors import RequestError

REQUEST_ID_KEY = "request-id"
"""Key of the request id in the trailing metadata of every call."""

REASON_KEY = "reason"
"""Key of the label of ``nextchar_rejected_total``, in the trailing metadata of a refused call."""

_PUSHBACK_KEY = "grpc-retry-pushback-ms"

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def abort(context: Context, identifier: str, error: RequestError) -> NoReturn:
    """Ends the call with ``error`` and the request id ``identifier``."""
    details = []
    reason = REASON_KEY, error.reason
    trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID_KEY, identifier), reason, *error.trailers]
    for detail in error.details:
        packed = AnyMessage()
        packed.Pack(detail)
        details.append(packed)
        if isinstance(detail, RetryInfo):
            trailers.append((_PUSHBACK_KEY, str(detail.retry_delay.ToMilliseconds())))
    status = rpc_status.to_status(Status(code=error.code.value[0], message=error.message, details=details))
    await context.abort(status.code, status.details, (*trailers, *status.trailing_metadata))
