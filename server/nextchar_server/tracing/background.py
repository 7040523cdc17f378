"""The background of an export: a bounded queue of spans, and the thread that takes them to one exporter.

``export`` makes one for each exporter. Needs the extra ``tracing``.

Invariant: to put a span neither waits nor fails. One that finds the queue full is dropped and counted. The thread gives
way to the event loop every ``_TOGETHER`` spans.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

_TOGETHER = 4
"""Spans, those of about a call, that are encoded while the other threads of Python wait: 0.2 ms."""

_BREAK = 50e-6
"""Seconds for which the thread then sleeps, so that another one takes over."""

_SIZE, _USUAL_SIZE = "OTEL_BSP_MAX_QUEUE_SIZE", 2048


class Background:
    """Exports spans by ``exporter``. One thread puts them; ``drop`` is called for each that finds no room."""

    def __init__(self, exporter: SpanExporter, drop: Callable[[], None]) -> None:
        """Raises ``ValueError`` if a variable has another value than it may."""
        try:
            self._size = int(os.environ.get(_SIZE) or _USUAL_SIZE)
        except ValueError:
            raise ValueError(f"{_SIZE}: {os.environ[_SIZE]!r} is not a whole number") from None
        self._drop = drop
        self._paced = _Paced(exporter)
        self._put = 0
        self._processor = BatchSpanProcessor(self._paced, self._size)

    @property
    def waiting(self) -> int:
        """Number of spans that wait."""
        return self._put - self._paced.taken

    def put(self, span: ReadableSpan) -> None:
        """Adds ``span``, if there is room."""
        if self.waiting >= self._size:  # the processor would complain in the log about each
            self._drop()
            return
        self._put += 1
        self._processor.on_end(span)

    def close(self) -> None:
        """Exports the spans that wait. Blocks, for half a minute at most."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Paced(SpanExporter):
    """An exporter that gives way: without breaks, each turn of another thread would take 5 ms to come."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        """Number of spans that came."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports ``spans``."""
        self.taken += len(spans)
        return self._exporter.export(_Parts(spans))

    def shutdown(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()


class _Parts(Sequence[ReadableSpan]):
    """Spans; who iterates over them takes breaks."""

    def __init__(self, spans: Sequence[ReadableSpan]) -> None:
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> ReadableSpan: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ReadableSpan]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._spans[index]

    def __iter__(self) -> Iterator[ReadableSpan]:
        for number, span in enumerate(self._spans):
            if number and number % _TOGETHER == 0:
                time.sleep(_BREAK)
            yield span
