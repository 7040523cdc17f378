"""The HTTP API: the processor time and the time to the first character of streams, beside those by gRPC.

All kinds of stream take turns on one server, so that the machine's other work affects them alike. The server is pinned
to one core, and the callers to the other.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import httpx

from benchmarks.report import table
from benchmarks.servers import LOAD_CORE, Server, free_port, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

TITLE = "The HTTP API"
_STREAMS = 32
_CHARACTERS = 2000
_ROUNDS = 4
_NEVER = 10**6  # characters between two tokens
_CUT = _CHARACTERS // 2


@dataclass
class _Seen:
    """A stream, as its caller saw it."""

    first: float
    """Seconds to its first character."""
    size: int
    """Bytes of its messages."""
    cut: str = ""
    """The first id behind ``_CUT`` characters."""


@dataclass
class _Costs:
    """One round of streams."""

    seconds: float
    """Processor time of the server per character."""
    first: float
    size: float
    """Bytes per character."""


_Stream = Callable[[int], Awaitable[_Seen]]


def measure(folder: Path) -> str:
    """Measures the streams and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        port = free_port()
        with served(folder, "--lanes", "1", "--http-port", str(port)) as server:
            rounds, continued = asyncio.run(_measured(server, port))
    finally:
        os.sched_setaffinity(0, cores)
    rows = [
        [
            kind,
            f"{1e6 * median(each.seconds for each in found):.1f}",
            f"{1e3 * median(each.first for each in found):.0f}",
            f"{median(each.size for each in found):.0f}",
        ]
        for kind, found in rounds.items()
    ]
    head = ["stream", "server, µs per character", "first character, ms", "bytes per character"]
    lines = [f"- {kind}: {1e3 * median(found):.0f} ms" for kind, found in continued.items()]
    return (
        f"{_STREAMS} streams at once, {_CHARACTERS:,} characters each.\n\n{table(head, rows)}\n\n"
        f"A single stream that continues behind {_CUT:,} characters, to its first one:\n\n" + "\n".join(lines)
    )


async def _measured(server: Server, port: int) -> tuple[dict[str, list[_Costs]], dict[str, list[float]]]:
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, limits=httpx.Limits(max_connections=None)
        ) as client,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        kinds: dict[str, _Stream] = {
            "gRPC": lambda seed: _by_grpc(stub, seed, None),
            "gRPC, a token in each message": lambda seed: _by_grpc(stub, seed, 0),
            "HTTP, without ids": lambda seed: _by_http(client, seed, _NEVER),
            "HTTP, with ids": lambda seed: _by_http(client, seed, None),
            "HTTP, with tokens as ids": lambda seed: _by_http(client, seed, 0),
        }
        rounds: dict[str, list[_Costs]] = {kind: [] for kind in kinds}
        for stream in kinds.values():
            await stream(0)  # warms up
        for _ in range(_ROUNDS):
            for kind, stream in kinds.items():
                rounds[kind].append(await _round(server, stream))
        continued: dict[str, list[float]] = {"with an id": [], "with a token": []}
        for seed in range(_ROUNDS):
            for found, interval in zip(continued.values(), (None, 0), strict=True):
                cut = (await _by_http(client, seed, interval)).cut
                found.append((await _by_http(client, seed, interval, cut)).first)
    return rounds, continued


async def _round(server: Server, stream: _Stream) -> _Costs:
    before, _ = server.cpu_seconds
    seen = await asyncio.gather(*[stream(seed) for seed in range(_STREAMS)])
    after, _ = server.cpu_seconds
    characters = _STREAMS * _CHARACTERS
    return _Costs(
        (after - before) / characters, median(each.first for each in seen), sum(each.size for each in seen) / characters
    )


async def _by_grpc(stub: Any, seed: int, interval: int | None) -> _Seen:
    parameters = pb.GenerationParameters(max_characters=_CHARACTERS, seed=seed, resume_interval=interval)
    began, first, size = time.perf_counter(), 0.0, 0
    async for message in stub.GenerateStream(pb.GenerateStreamRequest(prompt="ROMEO:", parameters=parameters)):
        size += message.ByteSize()
        if not first and message.HasField("delta"):
            first = time.perf_counter() - began
    return _Seen(first, size)


async def _by_http(client: httpx.AsyncClient, seed: int, interval: int | None, last: str = "") -> _Seen:
    body = {"prompt": "ROMEO:", "max_tokens": _CHARACTERS, "seed": seed, "stream": True}
    if interval is not None:
        body["resume_interval"] = interval
    headers = {"Last-Event-ID": last} if last else {}
    began, first, size, cut = time.perf_counter(), 0.0, 0, ""
    async with client.stream("POST", "/v1/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            size += len(line) + 1
            if line.startswith("data: {"):
                first = first or time.perf_counter() - began
            elif line.startswith("id: "):
                identifier = line.removeprefix("id: ")
                if not cut and _offset(identifier) >= _CUT:
                    cut = identifier
    return _Seen(first, size, cut)


def _offset(identifier: str) -> int:
    """Returns the characters before the place of an id of either kind."""
    place = identifier.split(".")
    return int(place[1] if len(place) > 1 else identifier.split("-")[0])
