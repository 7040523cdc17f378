"""The OTEL_* variables that say whether and where spans are exported.

Read before anything of OpenTelemetry is imported, which reads the others itself.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. Invariant: without one of
these variables, nothing is traced.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..listening import StartError

_DISABLED, _EXPORTER = "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
"""Names of the exporters of OTLP by its protocol."""

OFF = f"{_EXPORTER}=none turns traces off"
"""A remedy."""


def asked_by(environment: Mapping[str, str]) -> str:
    """Returns the variable that asks for traces; empty if none does."""
    if environment.get(_DISABLED, "").strip().lower() == "true":
        return ""
    named = _names(environment)
    if named:
        return "" if "none" in named else _EXPORTER
    return _first(_ENDPOINTS, environment)


def exporters(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the exporters, as their packages register them. Raises ``StartError``."""
    return [_registered(name, environment) for name in _names(environment) or ["otlp"]]


def _names(environment: Mapping[str, str]) -> list[str]:
    return [name for part in environment.get(_EXPORTER, "").split(",") if (name := part.strip().lower())]


def _registered(name: str, environment: Mapping[str, str]) -> str:
    if name != "otlp":
        return name
    variable = _first(_PROTOCOLS, environment)
    protocol = environment.get(variable, "grpc").strip().lower()
    if protocol not in _OTLP:
        raise StartError(f"{variable}: {protocol!r} is not one of {', '.join(_OTLP)}")
    return _OTLP[protocol]


def _first(variables: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Returns the first of ``variables`` that has a value; empty if none has one."""
    return next((variable for variable in variables if environment.get(variable, "").strip()), "")
