"""Spans that are made when they have ended, from times that are known.

``export`` makes one maker, with which ``rpc.spans`` makes the spans of calls. Those of OpenTelemetry's own tracer take
several times as long, because any thread may change them until they end. Needs the extra ``tracing``.

Invariant: a span is made only if its trace is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, SpanKind, Status, TraceFlags, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Identity = tuple[SpanContext, SpanContext | None]
"""A span, and its parent."""

Attributes = Mapping[str, str | int | float | list[str]]

_PROPAGATOR = TraceContextTextMapPropagator()
_OK = Status()


class SpanMaker:
    """Makes spans, and passes each on."""

    def __init__(
        self, provider: TracerProvider, resource: Resource, puts: Sequence[Callable[[ReadableSpan], None]]
    ) -> None:
        """``provider`` says which traces are sampled, and ``resource`` which server this is; ``puts`` get the spans."""
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._resource = resource
        self._puts = puts
        self._scope = InstrumentationScope("nextchar_server", version("nextchar"))

    def begin(
        self, name: str, headers: dict[str, str], kind: SpanKind
    ) -> tuple[SpanContext, SpanContext | None] | None:
        """Returns the identity of a span that begins; None if its trace isn't sampled.

        ``headers`` are those that name the caller's trace.
        """
        context, parent = Context(), INVALID_SPAN_CONTEXT
        if headers:
            context = _PROPAGATOR.extract(headers, context)
            parent = get_current_span(context).get_span_context()
        if parent.is_valid:
            trace, is_random = parent.trace_id, parent.trace_flags.random_trace_id
        else:
            trace, is_random = self._ids.generate_trace_id(), self._ids.is_trace_id_random()
        sampled = self._sampler.should_sample(context, trace, name, kind)
        if not sampled.decision.is_sampled():  # type: ignore[no-untyped-call]
            return None
        flags = TraceFlags.SAMPLED | (TraceFlags.RANDOM_TRACE_ID if is_random else 0)
        identity = SpanContext(
            trace, self._ids.generate_span_id(), False, TraceFlags(flags), sampled.trace_state or parent.trace_state
        )
        return identity, parent if parent.is_valid else None

    def below(self, parent: SpanContext, name: str, begun: int, ended: int) -> None:
        """Makes a span below ``parent``. Times are in nanoseconds since 1970."""
        identity = SpanContext(
            parent.trace_id, self._ids.generate_span_id(), False, parent.trace_flags, parent.trace_state
        )
        self.end(identity, parent, name, SpanKind.INTERNAL, begun, ended, {}, _OK)

    def end(
        self,
        identity: SpanContext,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        begun: int,
        ended: int,
        attributes: Attributes,
        status: Status,
    ) -> None:
        """Makes the span of ``identity``."""
        span = ReadableSpan(
            name,
            identity,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=begun,
            end_time=ended,
            instrumentation_scope=self._scope,
        )
        for put in self._puts:
            put(span)
