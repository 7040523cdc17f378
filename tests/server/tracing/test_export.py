"""The export of spans: what the variables of OpenTelemetry say about it, and the errors of a start."""

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.trace import SpanKind, Status
from prometheus_client import CollectorRegistry

from nextchar_server.check import checked
from nextchar_server.listening import StartError
from nextchar_server.metrics import TracingMetrics
from nextchar_server.server import Server
from nextchar_server.settings.config import Config
from nextchar_server.tracing.export import Export
from tests.support.collector import Collector, collecting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def export_of_variables() -> Export:
    return Export(TracingMetrics(CollectorRegistry()))


async def exported() -> None:
    """Makes a span and exports it."""
    export = export_of_variables()
    if (begun := export.spans.begin("made", {}, SpanKind.SERVER)) is not None:
        export.spans.end(*begun, "made", SpanKind.SERVER, 1, 2, {}, Status())
    await export.close()


async def test_a_span_goes_by_http_if_the_protocol_says_so(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, collector.http_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    await exported()
    assert collector.named("made").resource["service.name"] == "nextchar-server"


async def test_the_variables_name_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, collector.grpc_url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "verse")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    await exported()
    resource = collector.named("made").resource
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("verse", "test")
    assert resource["service.version"]


async def test_the_variables_choose_the_sampler(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, collector.grpc_url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    await exported()
    assert not collector.spans


async def test_a_collector_that_is_away_loses_spans_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    await exported()


async def test_a_server_without_the_extra_does_not_start_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(
        StartError,
        match=rf"{ENDPOINT} asks for traces, but opentelemetry.sdk.trace is not installed: "
        r"pip install 'nextchar\[tracing\]'; OTEL_TRACES_EXPORTER=none turns traces off",
    ):
        await Server(Config(grpc_port=0, http_port=0)).start()


def test_an_unknown_exporter_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
    with pytest.raises(StartError, match="the exporter 'jaeger' is unknown; there are console, otlp_proto_grpc"):
        export_of_variables()


def test_a_variable_that_the_exporter_refuses_is_an_error_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "best")
    with pytest.raises(StartError, match="can't be used"):
        export_of_variables()


def test_the_check_says_where_spans_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], collector: Collector
) -> None:
    monkeypatch.setenv(ENDPOINT, collector.grpc_url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    assert checked(Config()) == 0
    line = "traces: good: to otlp_proto_grpc, sampled by TraceIdRatioBased{0.1}, unless the caller decides"
    assert line in capsys.readouterr().out.splitlines()
