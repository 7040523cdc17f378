"""The metrics: every name, label and bucket in one place.

Invariant: the registry is injected, so several servers can live in one process; gauges are computed when they
are scraped, never stored.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from nextchar.v1 import generation_pb2 as pb

# Every histogram reaches as far as its values can: of those beyond the last bucket, nothing is known.
_STEP = (10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 200e-3, 1.0, 5.0)
_CHARACTER = (
    *(50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0),
    *(10.0, 60.0, 600.0),  # a reader that pauses
)
# Seconds in the queue, to the first character, and of a call. The longest wait with the default settings is that for a
# batch of 1,024 rows, 100,000 characters each, at a step of 50 ms, which a model much larger than the packaged one has.
_WAIT = (
    *(0.5e-3, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 2.0, 5.0),
    *(10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
)
_ROWS = tuple(2**n for n in range(13))
_LENGTH = tuple(float(4**n) for n in range(12))  # characters, up to 4 million
_DELAY = (1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 5.0)
_REQUEST = (1e-3, 5e-3, 20e-3, 100e-3, 500e-3, 2.0, 10.0, 60.0, 600.0, 7200.0)
_CALL_LABELS = ("grpc_type", "grpc_service", "grpc_method")

# Prometheus doesn't use the time at which each counter was made, which would double the series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All metrics of one server, in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._log = _LogCounter()
        registry.register(self._log)
        ProcessCollector(registry=registry)

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=registry)

        def histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, help_, labels, buckets=buckets, registry=registry)

        self.calls_started = counter("grpc_server_started_total", "Calls started.", *_CALL_LABELS)
        self.calls_handled = counter(
            "grpc_server_handled_total", "Calls completed, by code.", *_CALL_LABELS, "grpc_code"
        )
        self.call_seconds = histogram(
            "grpc_server_handling_seconds", "Time from the start of a call to its end.", _WAIT, *_CALL_LABELS
        )
        self.prompt_characters = counter("nextchar_prompt_characters_total", "Characters read.", "model")
        self.generated_characters = counter("nextchar_generated_characters_total", "Characters generated.", "model")
        self.prompt_length = histogram(
            "nextchar_prompt_length_characters", "Lengths of prompts and of scored texts.", _LENGTH, "model"
        )
        self.text_length = histogram(
            "nextchar_text_length_characters", "Lengths of finished texts, without their prompts.", _LENGTH, "model"
        )
        self.first_character_seconds = histogram(
            "nextchar_time_to_first_character_seconds",
            "Time from a call's start to its first character.",
            _WAIT,
            "model",
        )
        self.inter_character_seconds = histogram(
            "nextchar_inter_character_seconds",
            "Time per character between two messages of a stream, observed once per message.",
            _CHARACTER,
            "model",
        )
        self.queue_seconds = histogram(
            "nextchar_queue_seconds", "Time from a call's start to its first turn.", _WAIT, "model"
        )
        self.step_seconds = histogram(
            "nextchar_step_seconds", "Time of one step of a batch, observed once per turn.", _STEP, "model"
        )
        self.batch_rows = histogram("nextchar_batch_rows", "Rows of a batch, observed once per turn.", _ROWS, "model")
        self.finished = counter("nextchar_finished_total", "Finished texts, by finish reason.", "model", "reason")
        self.rejected = counter("nextchar_rejected_total", "Refused calls, by reason.", "reason")
        self.constraints = counter("nextchar_constraints_total", "Constraints of requests, by result.", "result")
        self.memory_bytes = Gauge("nextchar_memory_bytes", "Memory that calls hold.", registry=registry)
        self.memory_budget_bytes = Gauge(
            "nextchar_memory_budget_bytes", "Most memory that calls may hold.", registry=registry
        )
        self.model_load_failures = counter(
            "nextchar_model_load_failures_total", "Model files that could not be loaded, by reason.", "reason"
        )

    def watch_log(self, dropped: Callable[[], int]) -> None:
        """Counts the lines that the log dropped. ``dropped`` is called at each scrape."""
        self._log.dropped = dropped


class ServerMetrics:
    """The metrics of the server itself, beside its calls and models."""

    def __init__(self, registry: CollectorRegistry) -> None:
        build = Gauge(
            "nextchar_build_info",
            "1, with the versions of the server and of Python.",
            ("version", "python_version"),
            registry=registry,
        )
        build.labels(version("nextchar"), platform.python_version()).set(1)
        self.draining = Gauge(
            "nextchar_draining", "1 from the signal to stop on, also in the time as a lame duck.", registry=registry
        )
        self.loop_delay_seconds = Histogram(
            "nextchar_event_loop_delay_seconds",
            "Time by which the event loop of the calls woke up late, observed twice per second.",
            buckets=_DELAY,
            registry=registry,
        )


class HttpMetrics:
    """The metrics of the HTTP port. Servers without one don't have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "nextchar_http_requests_total", "Requests by HTTP, by route and code.", ("route", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "nextchar_http_request_seconds",
            "Time from the head of a request by HTTP to the end of its answer.",
            ("route",),
            buckets=_REQUEST,
            registry=registry,
        )


class TextMetrics:
    """The metrics of the texts of one model. Finding a metric by its labels takes longer than adding to it."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.prompt_characters = metrics.prompt_characters.labels(model)
        self.generated_characters = metrics.generated_characters.labels(model)
        self.inter_character_seconds = metrics.inter_character_seconds.labels(model)
        self.begun = 0
        """Number of texts of this version that have their first character."""
        self.first_characters_seconds = 0.0
        """Time that they took, together, to their first characters."""
        self._prompt_length = metrics.prompt_length.labels(model)
        self._text_length = metrics.text_length.labels(model)
        self._queue_seconds = metrics.queue_seconds.labels(model)
        self._first_character_seconds = metrics.first_character_seconds.labels(model)
        self._finished = {reason: metrics.finished.labels(model, reason) for reason in pb.FinishReason.keys()[1:]}

    def read(self, characters: int) -> None:
        """Counts a prompt, or a text that was scored."""
        self.prompt_characters.inc(characters)
        self._prompt_length.observe(characters)

    def begin(
        self, queue_seconds: float, first_character_seconds: float, exemplar: dict[str, str] | None = None
    ) -> None:
        """Counts a text that has its first character, after so long since its call's start.

        ``exemplar`` has the labels that lead to the call's trace, if it is traced.
        """
        self.begun += 1
        self.first_characters_seconds += first_character_seconds
        self._queue_seconds.observe(queue_seconds, exemplar)
        self._first_character_seconds.observe(first_character_seconds, exemplar)

    def finish(self, reason: str, characters: int) -> None:
        """Counts a finished text of ``characters``; ``reason`` is the name of a ``FinishReason``."""
        self._finished[reason].inc()
        self._text_length.observe(characters)


class MethodMetrics:
    """The metrics of the calls of one method. Their values are looked up once, and made with the first call."""

    def __init__(self, metrics: Metrics, *labels: str) -> None:
        self._metrics = metrics
        self._labels = labels
        self._ended: dict[str, Counter] = {}  # by code

    def begin(self) -> None:
        """Counts a call that starts."""
        self._started.inc()

    def end(self, code: str, seconds: float, exemplar: dict[str, str] | None) -> None:
        """Counts a call that ends with ``code`` after so long. ``exemplar`` is as in ``Metrics.begin``."""
        if (ended := self._ended.get(code)) is None:
            ended = self._ended[code] = self._metrics.calls_handled.labels(*self._labels, code)
        ended.inc()
        self._seconds.observe(seconds, exemplar)

    @cached_property
    def _started(self) -> Counter:
        return self._metrics.calls_started.labels(*self._labels)

    @cached_property
    def _seconds(self) -> Histogram:
        return self._metrics.call_seconds.labels(*self._labels)


class TlsMetrics:
    """The metrics of a server's certificate. Only servers with TLS have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.expiry = Gauge(
            "nextchar_tls_certificate_expiry_timestamp_seconds",
            "Time at which the certificate ends, in seconds since 1970.",
            registry=registry,
        )
        self.reloads = Counter(
            "nextchar_tls_reloads_total", "Times that the certificate was read again.", ("result",), registry=registry
        )
        for result in ("ok", "failed"):
            self.reloads.labels(result)


class TracingMetrics:
    """The metrics of the export of spans. Only servers with traces have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.dropped = Counter(
            "nextchar_spans_dropped_total",
            "Spans that were dropped, because too many waited for the collector.",
            registry=registry,
        )


class CallerMetrics:
    """The metrics of callers by their names. Only servers with authentication have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "nextchar_caller_calls_total", "Calls completed, by caller and code.", ("caller", "code"), registry=registry
        )
        self.characters = Counter(
            "nextchar_caller_characters_total",
            "Characters that callers had: of prompts, generated, and scored.",
            ("caller",),
            registry=registry,
        )
        self.reloads = Counter(
            "nextchar_credentials_reloads_total",
            "Times that a file of tokens or keys was read again.",
            ("result",),
            registry=registry,
        )
        for result in ("ok", "failed"):
            self.reloads.labels(result)


class WorkerMetrics:
    """The metrics of the workers. Only servers with several have them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.serving = Gauge("nextchar_workers", "Workers that serve.", registry=registry)
        self.restarts = Counter(
            "nextchar_worker_restarts_total", "Times that a worker that had ended was started again.", registry=registry
        )


class _LogCounter(Collector):
    """Counter of the log, which belongs to the process and not to one server."""

    def __init__(self) -> None:
        self.dropped: Callable[[], int] = int

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "nextchar_log_dropped", "Lines of the log that could not be written.", value=self.dropped()
        )
