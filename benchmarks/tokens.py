"""Resume tokens: their size, and the processor time that streams with and without them take.

Both kinds of stream take turns on one server, so that the machine's other work affects both alike. The server is pinned
to one core, and the caller to the other.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from statistics import median

from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Server, served
from nextchar_client import AsyncClient, Delta

TITLE = "Resume tokens"
_STREAMS = 64
_CHARACTERS = 1000
_ROUNDS = 6
_INTERVALS = (256, 64)
_OVERHEAD = 200  # bytes of a token beyond the state


def measure(folder: Path) -> str:
    """Measures the tokens and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with served(folder, "--lanes", "1") as server:
            costs, largest, state = asyncio.run(_measured(server))
    finally:
        os.sched_setaffinity(0, cores)
    ratios = {
        interval: median(one / none for one, none in zip(costs[interval], costs[None], strict=True))
        for interval in _INTERVALS
    }
    held = [
        Claim("processor time with a token every 256 characters", 1.05, ratios[256], at_most=True),
        Claim("largest token", state + _OVERHEAD, largest, at_most=True, unit="bytes"),
    ]
    rows = [[interval, f"{ratios[interval]:.3f}", f"{median(costs[interval]) * 1e6:.2f}"] for interval in _INTERVALS]
    rows.append(["never", "1", f"{median(costs[None]) * 1e6:.2f}"])
    head = ["a token at least every, characters", "processor time, ×", "µs per character"]
    return f"{claims(held)}\n\nA state has {state:,} bytes.\n\n{table(head, rows)}"


async def _measured(server: Server) -> tuple[dict[int | None, list[float]], int, int]:
    """Returns the seconds per character of each round by interval, and the bytes of the largest token and a state."""
    costs: dict[int | None, list[float]] = {interval: [] for interval in (*_INTERVALS, None)}
    largest = 0
    async with AsyncClient(f"127.0.0.1:{server.port}") as client:
        state = (await client.model()).state_bytes
        await _round(client, None)  # warms up
        for _ in range(_ROUNDS):
            for interval, seconds in costs.items():
                before, _ = server.cpu_seconds
                largest = max(largest, await _round(client, interval))
                after, _ = server.cpu_seconds
                seconds.append((after - before) / _STREAMS / _CHARACTERS)
    return costs, largest, state


async def _round(client: AsyncClient, interval: int | None) -> int:
    """Reads one text per stream, all at once, and returns the bytes of the largest token."""
    return max(await asyncio.gather(*(_largest_token(client, interval, seed) for seed in range(_STREAMS))))


async def _largest_token(client: AsyncClient, interval: int | None, seed: int) -> int:
    largest = 0
    stream = client.stream("ROMEO:", seed=seed, max_characters=_CHARACTERS, resume_interval=interval)
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, Delta):
                largest = max(largest, len(event.resume_token))
    return largest
