"""Traces: the cost of a call's spans to its server, by how many calls are traced, and with a collector that hangs.

The server runs on one core; the callers and the collector on the other one. Callers come back at once and ask for one
character each: calls beside which spans cost most.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

from benchmarks.report import table
from benchmarks.servers import LOAD_CORE, Load, served

TITLE = "Traces"
_ROUNDS = 5
_REQUESTS = 4000
_STREAMS = 16
_CALLS = {
    "off": {},
    "1 % of calls": {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
    "all calls": {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
    "all calls, to a collector that never answers": {"OTEL_TRACES_SAMPLER": "parentbased_always_on"},
}


def measure(folder: Path) -> str:
    """Measures all kinds in turn and returns the section of the results."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in _CALLS}
    for _ in range(_ROUNDS):
        for name, variables in _CALLS.items():
            with _collector(answers="never" not in name) as address:
                endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": address} if variables else {}
                found[name].append(_measured(folder, variables | endpoint))
    rows = []
    for name, figures in found.items():
        loop, process, first = (median(column) for column in zip(*figures, strict=True))
        rows.append((name, f"{loop:,.0f}", f"{process:,.0f}", f"{first:.2f}"))
    head = ("traced", "µs of the event loop per call", "µs of the process per call", "ms to the first character, p50")
    return table(head, rows)


def _measured(folder: Path, variables: dict[str, str]) -> tuple[float, float, float]:
    """Returns µs of the event loop and of the process per call, and ms to the first character."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with served(folder, "--lanes", "1", "--log-level", "error") as server:
            Load(server, streams=_STREAMS, requests=_REQUESTS // 4, max_characters=1).report()  # warms up
            begun = server.cpu_seconds
            report = Load(server, streams=_STREAMS, requests=_REQUESTS, max_characters=1).report()
            ended = server.cpu_seconds
    finally:
        os.environ.clear()
        os.environ.update(before)
    process, loop = (1e6 * (end - begin) / _REQUESTS for begin, end in zip(begun, ended, strict=True))
    return loop, process, 1e3 * report["first_character_seconds"]["p50"]


@contextmanager
def _collector(*, answers: bool) -> Iterator[str]:
    """Runs a collector on the core of the load, and yields its address."""
    over = threading.Event()
    if answers:
        over.set()

    class Collector(rpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            over.wait()
            return service.ExportTraceServiceResponse()

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with ThreadPoolExecutor(4) as threads:
            server = grpc.server(threads)
            rpc.add_TraceServiceServicer_to_server(Collector(), server)  # type: ignore[no-untyped-call]
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                over.set()
                server.stop(None).wait()
    finally:
        os.sched_setaffinity(0, cores)
