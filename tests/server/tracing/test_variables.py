"""The OTEL_* variables: when spans are exported, and by which exporters."""

import pytest

from nextchar_server.listening import StartError
from nextchar_server.tracing.variables import asked_by, exporters

TRACES, ANY = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "asking"),
    [
        ({}, ""),
        ({ANY: "http://collector:4317"}, ANY),
        ({ANY: ""}, ""),
        ({TRACES: "http://one:4317", ANY: "http://other:4317"}, TRACES),
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER"),
        ({ANY: "http://collector:4317", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({ANY: "http://collector:4317", "OTEL_SDK_DISABLED": "True"}, ""),
        ({"OTEL_SERVICE_NAME": "verse", "OTEL_TRACES_SAMPLER": "always_on"}, ""),
    ],
)
def test_an_endpoint_or_an_exporter_asks_for_traces(environment: dict[str, str], asking: str) -> None:
    assert asked_by(environment) == asking


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({ANY: "http://collector:4317"}, ["otlp_proto_grpc"]),
        ({ANY: "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "x", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": " console , otlp"}, ["console", "otlp_proto_grpc"]),
    ],
)
def test_exporters_have_the_names_of_their_packages(environment: dict[str, str], names: list[str]) -> None:
    assert exporters(environment) == names


def test_another_protocol_is_refused_with_its_variable() -> None:
    with pytest.raises(StartError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not one of grpc, http/protobuf"):
        exporters({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
