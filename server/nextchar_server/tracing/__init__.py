"""Tracing: spans of calls for a collector of OpenTelemetry, if the OTEL_* variables ask for them."""
