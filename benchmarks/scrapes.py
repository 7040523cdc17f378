"""Scrapes: the processor time and the lines of one, of a server that has answered calls of several kinds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import grpc
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from benchmarks.report import table
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.http.answers import OPEN_METRICS
from nextchar_server.server import Server
from nextchar_server.settings.config import Config

TITLE = "Scrapes"
_ROUNDS = 200
_FORMS = {"OpenMetrics": OPEN_METRICS, "Prometheus text": ""}


def measure(folder: Path) -> str:
    """Measures both forms and returns the section of the results."""
    return asyncio.run(_measured())


async def _measured() -> str:
    registry = CollectorRegistry()
    server = Server(Config(grpc_port=0, http_port=0, lanes=1), registry)
    ports = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            await stub.Generate(pb.GenerateRequest(parameters=pb.GenerationParameters(max_characters=100)))
            await stub.Score(pb.ScoreRequest(text="To be, or not to be"))
            await stub.Complete(pb.CompleteRequest(prompt="To be, or not to b"))
        rows = [_row(name, choose_encoder(form)[0], registry) for name, form in _FORMS.items()]
    finally:
        await server.stop()
    return table(("form", "lines", "bytes", "ms of a core"), rows)


def _row(name: str, encode: Callable[[CollectorRegistry], bytes], registry: CollectorRegistry) -> tuple[str, ...]:
    times = []
    for _ in range(_ROUNDS):
        started = time.thread_time()
        body = encode(registry)
        times.append(time.thread_time() - started)
    return name, str(body.count(b"\n")), f"{len(body):,}", f"{1e3 * median(times):.2f}"
