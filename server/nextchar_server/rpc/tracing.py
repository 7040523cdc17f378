"""Traces: the identifier under which a caller's tracing system knows a call.

The interceptor binds it to all lines that the call leaves in the log.

Source: https://www.w3.org/TR/trace-context/#traceparent-header. Invariant: an identifier has 32 hexadecimal digits;
whatever else a caller sends is ignored, as the standard asks.
"""

from __future__ import annotations

import re
from typing import Any

import grpc

TRACEPARENT = "traceparent"
"""Key of the metadata."""

_FORM = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)


def trace_id(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    """Returns the identifier of the trace that a call belongs to; None if its metadata names none."""
    try:
        metadata = context.invocation_metadata() or ()
    except UnicodeDecodeError:  # of a field that isn't text
        return None
    found = next((value for key, value in metadata if key == TRACEPARENT), None)  # gRPC keeps one of several
    if not isinstance(found, str):
        return None
    parts = _FORM.fullmatch(found)
    # Only later versions than 00 may have more parts.
    if parts is None or (parts["more"] is not None and parts["version"] == "00"):
        return None
    return parts["trace"]
