"""Long prompts: the first characters of ordinary texts while long prompts are read, echoed or scored beside them.

The server is pinned to one core, with one lane, and both loads to the other. The callers of long texts only count the
bytes that come back, so that their own work doesn't delay the messages that are timed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from benchmarks.models import SHAKESPEARE, WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Load, Server, served
from nextchar.v1 import generation_pb2 as pb

TITLE = "Long prompts"
_ROUNDS = 5
_SECONDS = 5.0
_STREAMS = 64
_CHARACTERS = 400
_CALLERS = 100
_LENGTH = 1000
_ALONE = "nothing"
_READ, _ECHOED, _RICH, _SCORED = "long prompts", "echoed prompts", "echoed prompts, 5 alternatives", "scores"
_KINDS = (_ALONE, _READ, _ECHOED, _RICH, _SCORED)
_METHOD = "/nextchar.v1.GenerationService/"


def measure(folder: Path) -> str:
    """Measures the first characters and returns the section of the results."""
    firsts: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _KINDS}
    rates: dict[str, list[tuple[float, float]]] = {kind: [] for kind in _KINDS}
    # Without a cache of prefixes, nothing that was read spares the next prompt its reading.
    with served(folder, "--model", model_file(folder, WIDE), "--lanes", "1", "--prefix-cache", "0") as server:
        Load(server, streams=_STREAMS, seconds=1, max_characters=_CHARACTERS).report()  # warms up
        for _ in range(_ROUNDS):
            for kind in _KINDS:
                first, rate = beside(server, kind)
                firsts[kind].append(first)
                rates[kind].append(rate)
    p99 = {kind: median(first[1] for first in firsts[kind]) * 1e3 for kind in _KINDS}
    lines = [Claim(f"first character beside {kind}, p99", 20, p99[kind], at_most=True, unit="ms") for kind in _KINDS]
    return "\n\n".join(
        [
            f"{name_of(WIDE)}, int8, V=66; the server on one core with one lane, the callers on the other. {_STREAMS} "
            f"streams of {_CHARACTERS} characters in a closed loop, beside {_CALLERS} callers whose texts of {_LENGTH} "
            "characters are read one after another.",
            claims(lines),
            table(
                ["beside", "first character p50 / p99, ms", "characters/s of the streams", "read characters/s"],
                [
                    [
                        kind,
                        f"{median(first[0] for first in firsts[kind]) * 1e3:.1f} / {p99[kind]:.1f}",
                        *(f"{median(rate[n] for rate in rates[kind]):,.0f}" for n in (0, 1)),
                    ]
                    for kind in _KINDS
                ],
            ),
        ]
    )


def beside(server: Server, kind: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns p50 and p99 of the streams' first characters in seconds, and the streams' and the readers' rates."""
    return asyncio.run(_beside(server, kind))


async def _beside(server: Server, kind: str) -> tuple[tuple[float, float], tuple[float, float]]:
    os.sched_setaffinity(0, {LOAD_CORE})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        read = [0]
        callers = [] if kind == _ALONE else [asyncio.create_task(_call(channel, kind, read)) for _ in range(_CALLERS)]
        await asyncio.sleep(1)  # until all of them are read
        load = Load(server, streams=_STREAMS, seconds=_SECONDS, ramp=0.5, max_characters=_CHARACTERS)
        before, started = read[0], time.perf_counter()
        report: dict[str, Any] = await asyncio.to_thread(load.report, _SECONDS + 4)
        rate = (read[0] - before) / (time.perf_counter() - started)
        for caller in callers:
            caller.cancel()
        for ended in await asyncio.gather(*callers, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise RuntimeError(f"a caller of long texts ended: {ended!r}")
    first = report["first_character_seconds"]
    return (first["p50"], first["p99"]), (report["characters_per_second"], rate)


async def _call(channel: grpc.aio.Channel, kind: str, read: list[int]) -> None:
    """Sends one text after another, and counts their characters."""
    while True:
        text = "".join(random.choices(SHAKESPEARE, k=_LENGTH))  # noqa: S311
        await _sent(channel, kind, text)
        read[0] += _LENGTH


async def _sent(channel: grpc.aio.Channel, kind: str, text: str) -> None:
    if kind == _SCORED:
        score: Any = channel.unary_unary(f"{_METHOD}Score", pb.ScoreRequest.SerializeToString)
        await score(pb.ScoreRequest(text=text))
        return
    parameters = pb.GenerationParameters(
        max_characters=1, echo=kind != _READ, top_logprobs={_ECHOED: 0, _RICH: 5}.get(kind)
    )
    request = pb.GenerateStreamRequest(prompt=text, parameters=parameters)
    generate: Any = channel.unary_stream(f"{_METHOD}GenerateStream", pb.GenerateStreamRequest.SerializeToString)
    async for _ in generate(request):
        pass
