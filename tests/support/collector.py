"""A collector of traces in the test's own process: takes OTLP over gRPC and HTTP, on ports that the system chooses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.trace.v1 import trace_pb2

Status = trace_pb2.Status
Kind = trace_pb2.Span.SpanKind


@dataclass(frozen=True)
class Received:
    """A span, as it came."""

    span: Any
    resource: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.span.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes."""
        return _values(self.span.attributes)

    @property
    def trace_id(self) -> str:
        """The identifier of its trace, in hexadecimal."""
        return str(self.span.trace_id.hex())

    @property
    def span_id(self) -> str:
        """Its identifier, in hexadecimal."""
        return str(self.span.span_id.hex())

    @property
    def parent(self) -> str:
        """The identifier of its parent; empty without one."""
        return str(self.span.parent_span_id.hex())


class Collector(rpc.TraceServiceServicer):
    """Keeps all spans that come."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.answers = threading.Event()
        """Cleared, it takes requests and doesn't answer."""
        self.answers.set()
        self.asked = threading.Event()
        """Set by the first request."""
        self.grpc_url = ""
        self.http_url = ""

    def Export(self, request: Any, context: Any) -> Any:
        """Takes a request."""
        self.asked.set()
        self.answers.wait()
        for group in request.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans.extend(Received(span, resource) for span in scope.spans)
        return service.ExportTraceServiceResponse()

    def named(self, name: str) -> Received:
        """Returns the only span of this name, or of this method."""
        (found,) = (span for span in self.spans if span.name.rpartition("/")[2] == name)
        return found

    def below(self, parent: Received) -> list[Received]:
        """Returns the spans below ``parent`` in the order of their starts."""
        below = [span for span in self.spans if span.parent == parent.span_id]
        return sorted(below, key=lambda span: int(span.span.start_time_unix_nano))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.Export(service.ExportTraceServiceRequest.FromString(body), None)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadPoolExecutor(4) as threads, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as over_http:
        server = grpc.server(threads)
        rpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
        collector.grpc_url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        collector.http_url = f"http://127.0.0.1:{over_http.server_port}"
        server.start()
        thread = threading.Thread(target=over_http.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.answers.set()
            over_http.shutdown()
            thread.join()
            server.stop(None).wait()


def _values(attributes: Any) -> dict[str, Any]:
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
