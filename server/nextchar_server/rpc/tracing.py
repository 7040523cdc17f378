"""Traces: the identifier under which a caller's tracing system knows a call.

The interceptor binds it to all lines that the call leaves in the log.

Source: https://www.w3.org/TR/trace-context/#traceparent-header. Invariant: an identifier has 32 hexadecimal digits;
whatever else a caller sends is ignored, as the standard asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import structlog

TRACEPARENT = "traceparent"
KEYS = (TRACEPARENT, "tracestate")
"""Keys of the metadata that name the caller's trace."""

_FORM = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)


def bind_trace(metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Adds the trace of the call with ``metadata``, if it has one, to all lines that the current task logs."""
    if (trace := trace_id(metadata or ())) is not None:
        structlog.contextvars.bind_contextvars(trace_id=trace)


def trace_id(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """Returns the identifier of the trace that a call with ``metadata`` belongs to; None if it names none."""
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str):  # gRPC keeps one of several
            parts = _FORM.fullmatch(value)
            # Only later versions than 00 may have more parts.
            return parts["trace"] if parts and not (parts["more"] and parts["version"] == "00") else None
    return None
