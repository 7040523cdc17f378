"""Completions: how long five words take while somebody types, beside 64 streams on the same core, and how fast
those still are.

The server is pinned to one core, the streams' callers and the typist to the other. The typist sends a passage, one
character longer each time: at once after the last answer, which no person does, or ten times per second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np

from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Load, Server, served
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.settings.config import PACKAGED_MODEL

TITLE = "Completions"
_STREAMS = 64
_CHARACTERS = 400
_SECONDS = 10.0
_ROUNDS = 3
_SETTLING = 1.5  # seconds until all streams run
_WORDS = 5
_MOST_SECONDS = 0.02
_AT_ONCE, _TYPED = "one after another", "ten times per second"
_PAUSES = {_AT_ONCE: 0.0, _TYPED: 0.1}
_PASSAGE = """Second Citizen:
Would you proceed especially against Caius Marcius? He is the first that ever spoke for us, and I would have him hear
what the people say of their bread: that there is none, and that those who sell it have grown rich by our hunger. Let
us kill no man, but let us go up to the capitol together and ask what they mean to do before the winter comes.
"""


def measure(folder: Path) -> str:
    """Measures completions and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with (
            served(folder, "--model", PACKAGED_MODEL, "--lanes", "1") as server,
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            _typing(stub, 1.0, 0.0)  # warms up
            alone = _typing(stub, _SECONDS, 0.0)
            rates: dict[str, list[float]] = {"": [], **{name: [] for name in _PAUSES}}
            beside: dict[str, list[float]] = {name: [] for name in _PAUSES}
            for _ in range(_ROUNDS):
                rates[""].append(_beside(server, lambda: time.sleep(_SECONDS)))
                for name, pause in _PAUSES.items():
                    times = beside[name]
                    rates[name].append(_beside(server, lambda: times.extend(_typing(stub, _SECONDS, pause))))  # noqa: B023
    finally:
        os.sched_setaffinity(0, cores)
    free = median(rates[""])
    lines = [
        Claim(
            f"p99 of five words beside {_STREAMS} streams, {name}", 20, _percentile(times, 99), at_most=True, unit="ms"
        )
        for name, times in beside.items()
    ]
    rows = [
        ["alone, one after another", *(f"{_percentile(alone, part):.1f}" for part in (50, 99)), f"{len(alone):,}", ""],
        *(
            [
                f"beside {_STREAMS} streams, {name}",
                *(f"{_percentile(times, part):.1f}" for part in (50, 99)),
                f"{len(times):,}",
                f"{median(rates[name]) / free:.0%}",
            ]
            for name, times in beside.items()
        ),
    ]
    return "\n\n".join(
        [
            f"The packaged model, five words behind a passage that is typed; streams of {_CHARACTERS} characters, "
            f"{free:,.0f} characters/s in all without a typist.",
            claims(lines),
            table(["completions", "p50, ms", "p99, ms", "measured", "what the streams keep"], rows),
        ]
    )


def _beside(server: Server, work: Callable[[], object]) -> float:
    """Does ``work`` beside streams, and returns their characters per second."""
    load = Load(server, streams=_STREAMS, seconds=_SECONDS + _SETTLING, max_characters=_CHARACTERS)
    time.sleep(_SETTLING)
    work()
    rate: float = load.report()["characters_per_second"]
    return rate


def _typing(stub: Any, seconds: float, pause: float) -> list[float]:
    """Types for ``seconds`` and returns how long each completion took, in seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        passages, length = divmod(len(times), len(_PASSAGE))
        # Another passage each time that it is typed, so that its states aren't known.
        prompt = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[passages % 26] + _PASSAGE[:length]
        began = time.perf_counter()
        stub.Complete(pb.CompleteRequest(prompt=prompt, count=_WORDS))
        times.append(time.perf_counter() - began)
        time.sleep(pause)
    return times


def _percentile(times: list[float], part: float) -> float:
    return float(np.percentile(times, part)) * 1e3
