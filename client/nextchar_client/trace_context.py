"""The trace that a call belongs to: the span that is current in the caller's program, if it uses OpenTelemetry.

Read once per call, so that all its tries and continuations belong to the same span. Invariant: a program that doesn't
use OpenTelemetry doesn't import it.
"""

from __future__ import annotations

import sys


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata that continues the current trace, in the form that the program has chosen; empty without one."""
    if "opentelemetry.trace" not in sys.modules:  # then no span can be current
        return ()
    from opentelemetry import propagate, trace

    if not trace.get_current_span().get_span_context().is_valid:
        return ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple((key.lower(), value) for key, value in carrier.items())
