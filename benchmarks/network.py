"""Network and memory: bytes on the wire per character, and memory of a stream, of a connection, and at a reader's pace.

A proxy between caller and server counts bytes. The figures are those of docs/capacity.md that no other part measures.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from benchmarks.http2 import MAX_WINDOW, Connection
from benchmarks.proxy import Proxy
from benchmarks.report import table
from benchmarks.servers import LOAD_CORE, Server, free_port, served
from nextchar_client import AsyncClient, Delta

TITLE = "Network and memory"
_TOKEN = "benchmark"  # noqa: S105 - of a server on this machine alone
_PACE = 20  # characters per second that a person reads
_CONNECTIONS = 1000
_WARM_UP = 64  # texts before a measurement: the first ones cost more
_HEADERS = 66  # bytes of Ethernet, IPv4 and TCP with timestamps around each packet
_MIB, _KIB = 2**20, 2**10


@dataclass(frozen=True)
class _Case:
    """Streams that run at once."""

    name: str
    streams: int
    characters: int
    top_logprobs: int | None = None
    resume_interval: int | None = None
    pace: int | None = None
    """Characters per second of each stream; None: as fast as the server can."""
    rounds: int = 3
    is_http: bool = False
    """Whether the streams are those of the HTTP API."""


_CASES = (
    _Case("one stream, texts of 400", 1, 400, rounds=20),
    _Case("texts of 1", 64, 1, rounds=20),
    _Case("texts of 400", 64, 400),
    _Case("texts of 4,000", 64, 4000),
    _Case("with a token every 256", 64, 4000, resume_interval=256),
    _Case("with log-probabilities", 64, 400, top_logprobs=0),
    _Case("with 5 alternatives", 64, 400, top_logprobs=5),
    _Case("over HTTP, texts of 400", 64, 400, is_http=True),
    _Case(f"at {_PACE} characters/s", 64, 400, pace=_PACE, rounds=1),
    _Case(f"1,000 streams at {_PACE} characters/s", 1000, 400, pace=_PACE, rounds=1),
)


@dataclass(frozen=True)
class _Cost:
    """The cost of a case, in bytes and seconds."""

    up: int = 0
    down: int = 0
    messages: int = 0
    characters: int = 0
    processor: float = 0.0
    memory: int = 0


def measure(folder: Path) -> str:
    """Measures the cost of streams and connections and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        costs = {case: _cost(folder, case) for case in _CASES}
        connection = _connection_bytes(folder)
        scrape = _scrape(folder)
    finally:
        os.sched_setaffinity(0, cores)
    rows = [_row(case, cost) for case, cost in costs.items()]
    head = [
        *("streams", "characters per message", "bytes per character down", "up", "down, with headers of packets"),
        *("µs of processor per character", "KiB per stream"),
    ]
    return "\n\n".join(
        [
            "The packaged model, one lane on one core; prompts of 6 characters, no TLS. Bytes are those of the "
            "connection, all calls in one; over HTTP, a connection each. The column with headers adds "
            f"{_HEADERS} bytes per message, as if each came in a packet of its own. Memory per stream is the peak of "
            "resident memory minus that of a server that has "
            f"served {_WARM_UP} texts, divided by the number of streams.",
            table(head, rows),
            f"A connection without calls takes {connection / _KIB:.0f} KiB ({_CONNECTIONS:,} at once). A scrape of the "
            f"metrics has {scrape[0]:,} series in {scrape[1] / _KIB:.0f} KiB.",
        ]
    )


def _row(case: _Case, cost: _Cost) -> list[object]:
    each = cost.characters
    return [
        case.name,
        f"{each / cost.messages:.1f}",
        f"{cost.down / each:.2f}",
        f"{cost.up / each:.2f}",
        f"{(cost.down + cost.messages * _HEADERS) / each:.2f}",
        f"{cost.processor / each * 1e6:.1f}",
        f"{cost.memory / case.streams / _KIB:.0f}" if case.streams >= 1000 else "",
    ]


def _cost(folder: Path, case: _Case) -> _Cost:
    http_port = free_port()
    with _server(folder, case, http_port) as server:
        return asyncio.run(_asked(server, case, http_port))


@contextmanager
def _server(folder: Path, case: _Case, http_port: int) -> Iterator[Server]:
    flags: list[str | Path] = ["--lanes", "1"]
    if case.pace is not None:
        tokens = folder / "tokens"
        digest = hashlib.sha256(_TOKEN.encode()).hexdigest()
        tokens.write_text(f"warm {hashlib.sha256(b'warm').hexdigest()}\n")
        tokens.write_text(tokens.read_text() + f"reader {digest} rate={case.pace * case.streams}\n")
        flags += ["--auth-tokens-file", tokens]
    with served(folder, *flags, "--http-port", str(http_port)) as server:
        yield server


async def _asked(server: Server, case: _Case, http_port: int) -> _Cost:
    paced = case.pace is not None
    async with AsyncClient(f"127.0.0.1:{server.port}", token="warm" if paced else None) as client:
        await asyncio.gather(*(_read(client, replace(case, characters=50), seed) for seed in range(_WARM_UP)))
    server.forget_peak()
    memory, (processor, _) = server.memory, server.cpu_seconds
    async with Proxy(http_port if case.is_http else server.port) as proxy:
        async with AsyncExitStack() as stack:
            token = _TOKEN if paced else None
            client = await stack.enter_async_context(AsyncClient(f"127.0.0.1:{proxy.port}", token=token, timeout=600))
            session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
            reads = []
            for _ in range(case.rounds):
                asked = (
                    _read_events(session, proxy.port, case, seed) if case.is_http else _read(client, case, seed)
                    for seed in range(case.streams)
                )
                reads += await asyncio.gather(*asked)
        up, down = proxy.to_target, proxy.from_target
    return _Cost(
        up=up,
        down=down,
        messages=sum(messages for messages, _ in reads),
        characters=sum(characters for _, characters in reads),
        processor=server.cpu_seconds[0] - processor,
        memory=server.peak_memory - memory,
    )


async def _read(client: AsyncClient, case: _Case, seed: int) -> tuple[int, int]:
    """Reads one text, and returns the number of its messages and of its characters."""
    messages = characters = 0
    stream = client.stream(
        "ROMEO:",
        seed=seed,
        max_characters=case.characters,
        top_logprobs=case.top_logprobs,
        resume_interval=case.resume_interval,
    )
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Delta):
                messages += 1
                characters += len(event.text)
    return messages, characters


async def _read_events(session: ClientSession, port: int, case: _Case, seed: int) -> tuple[int, int]:
    """Reads one text over HTTP, and returns the number of its events with text and of its characters."""
    messages = characters = 0
    body = {"model": "shakespeare", "prompt": "ROMEO:", "seed": seed, "max_tokens": case.characters, "stream": True}
    async with session.post(f"http://127.0.0.1:{port}/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                text = json.loads(line.removeprefix(b"data: "))["choices"][0]["text"]
                messages += bool(text)
                characters += len(text)
    return messages, characters


def _connection_bytes(folder: Path) -> float:
    """Returns the memory of a connection on which HTTP/2 has begun."""

    async def opened(server: Server) -> float:
        before = server.memory
        connections = [await Connection.open(server.port, window=MAX_WINDOW) for _ in range(_CONNECTIONS)]
        serving = [asyncio.create_task(connection.serve()) for connection in connections]
        await asyncio.sleep(1)
        grown = server.memory - before
        for task in serving:
            task.cancel()
        return grown / _CONNECTIONS

    with served(folder, "--lanes", "1") as server:
        return asyncio.run(opened(server))


def _scrape(folder: Path) -> tuple[int, int]:
    """Returns the number of series, and the bytes, of the metrics of a server that has served."""
    port, case = free_port(), _CASES[0]
    with _server(folder, case, port) as server:
        asyncio.run(_asked(server, case, port))
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        text = direct.open(f"http://127.0.0.1:{port}/metrics").read()
    return sum(not line.startswith(b"#") for line in text.splitlines()), len(text)
