"""The server: the speed of streams, compared with ``rivals``, and by itself.

All servers are pinned to one core, and ``nextchar bench`` to another.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.axes import Axes

from benchmarks.kernel import steps_of
from benchmarks.models import WIDE, model_file
from benchmarks.plots import plot
from benchmarks.report import Claim, claims, table
from benchmarks.rivals import ARRIVALS, CHARACTERS, STREAMS, against_rivals
from benchmarks.runs import ROUNDS, SECONDS, Run, call_cpu, calls, first, rate, run
from benchmarks.servers import SERVER_CORE, Load, Server, free_port, served
from benchmarks.timing import interleave
from nextchar_model.runner import Runner
from nextchar_training.palette import SERIES

TITLE = "Served"
_STARTS = 5
_IDLE_SECONDS = 10.0
_SHORT = 32  # characters
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


def measure(folder: Path) -> str:
    """Measures the server and returns the section of the results."""
    torch.set_num_threads(1)
    model = model_file(folder, WIDE)
    kernel = _kernel(model)
    sections: list[str] = []
    lines: list[Claim] = []
    http_port = free_port()
    with served(folder, "--model", model, "--http-port", str(http_port)) as ours:
        Load(ours, streams=STREAMS, seconds=1, max_characters=CHARACTERS).report()  # warms up
        sections += against_rivals(folder, ours, http_port, kernel[STREAMS], lines)
        sections += _short(ours, kernel[STREAMS])
        sections += _one_stream(ours, kernel, lines)
        sections += _newcomers(ours, lines)
        sections += _idle(ours, lines)
    sections += _many(folder, model, lines)
    sections += _start(folder, lines)
    introduction = (
        "1×512, int8, V=66; fp32 in the baselines, except where a name says otherwise. The server on one core, "
        "`nextchar bench` or its likeness for HTTP on the other; prompts of 16 characters, texts of "
        f"{CHARACTERS}. The kernel's own rate on that core: {kernel[1]:,.0f} characters/s at B=1, "
        f"{kernel[STREAMS]:,.0f} at B={STREAMS}."
    )
    return "\n\n".join([introduction, claims(lines), *sections])


def _kernel(model: Path) -> dict[int, float]:
    """Returns the characters per second of the runner alone on the server's core, by number of rows."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    runner = Runner(model)
    steps = {1: 150, STREAMS: 17}  # as many as fit a turn of 5 ms
    seconds = interleave({B: steps_of(runner, B, K) for B, K in steps.items()}, seconds=3)
    os.sched_setaffinity(0, cores)
    return {B: B * K / seconds[B] for B, K in steps.items()}


def _short(server: Server, kernel: float) -> list[str]:
    """Measures calls of few characters, of which most is the work for a call, not for a character."""
    runs: dict[str, list[Run]] = {arrivals: [] for arrivals in ARRIVALS}
    for _ in range(ROUNDS):
        for arrivals, ramp in ARRIVALS.items():
            runs[arrivals].append(run(server, streams=STREAMS, max_characters=_SHORT, ramp=ramp))
    return [
        f"### Calls of {_SHORT} characters",
        f"{STREAMS} streams, prompts of 16 characters, {ROUNDS} runs of {SECONDS:g} s. The share is that of the "
        "characters that are generated; the prompt, half as long, is read in addition.",
        table(
            [
                "arrivals",
                "calls/s",
                "server's CPU per call, µs: all, main thread",
                "share of the kernel's rate",
                "first character p50 / p99, ms",
            ],
            [
                [
                    arrivals,
                    f"{calls(found):,.0f}",
                    ", ".join(f"{seconds * 1e6:,.0f}" for seconds in call_cpu(found)),
                    f"{rate(found) / kernel:.0%}",
                    f"{first(found, 'p50') * 1e3:.1f} / {first(found, 'p99') * 1e3:.1f}",
                ]
                for arrivals, found in runs.items()
            ],
        ),
    ]


def _one_stream(server: Server, kernel: dict[int, float], lines: list[Claim]) -> list[str]:
    rows = []
    for characters in (CHARACTERS, 10 * CHARACTERS):
        runs = [run(server, streams=1, seconds=3, max_characters=characters)]
        share = rate(runs) / kernel[1]
        if characters == CHARACTERS:
            name = f"one stream of {characters} characters, share of the kernel's rate"
            lines.append(Claim(name, 0.6, share, unit=""))
        waits = f"{first(runs, 'p50') * 1e3:.2f} / {first(runs, 'p99') * 1e3:.2f}"
        rows.append([characters, f"{rate(runs):,.0f}", f"{share:.0%}", waits])
    return [
        "### One stream",
        table(["characters", "characters/s", "share of the kernel's rate", "first character p50 / p99, ms"], rows),
    ]


def _newcomers(server: Server, lines: list[Claim]) -> list[str]:
    """Measures short texts that arrive now and then while other streams run all the time."""
    background: dict[str, float] = {"streams": STREAMS, "max_characters": 4000, "ramp": 0.5}
    alone: list[float] = []
    together: list[float] = []
    firsts: list[float] = []
    newcomers = 0
    for _ in range(ROUNDS):
        alone.append(run(server, **background).report["characters_per_second"])
        long = Load(server, seconds=SECONDS + 2, **background)
        time.sleep(1.5)  # until it is up to speed
        short = run(server, rate=20, max_characters=32, seconds=SECONDS).report
        whole = long.report()
        together.append(whole["characters_per_second"] + short["characters_per_second"])
        firsts.append(short["first_character_seconds"]["p99"])
        newcomers += short["requests"]
    lines.append(
        Claim(f"first character beside {STREAMS} streams, p99", 20, median(firsts) * 1e3, at_most=True, unit="ms")
    )
    fall = 1 - median(together) / median(alone)
    lines.append(Claim("throughput lost to newcomers", 10, fall * 100, at_most=True, unit="%"))
    return [
        "### A new stream beside 64 running ones",
        f"{newcomers} newcomers of 32 characters, 20 per second at random times (a Poisson process), beside {STREAMS} "
        f"streams of 4,000. First character: p99 {median(firsts) * 1e3:.1f} ms. All streams together: "
        f"{median(alone):,.0f} characters/s without newcomers, {median(together):,.0f} with them.",
    ]


def _idle(server: Server, lines: list[Claim]) -> list[str]:
    before = server.cpu_seconds[0]
    time.sleep(_IDLE_SECONDS)
    used = (server.cpu_seconds[0] - before) / _IDLE_SECONDS
    lines.append(Claim("share of a core when idle", 0.5, used * 100, at_most=True, unit="%"))
    return []


def _many(folder: Path, model: Path, lines: list[Claim]) -> list[str]:
    rows = []
    rates: dict[int, float] = {}
    with served(folder, "--model", model) as server:
        idle = server.idle_memory()
        for count in _COUNTS:
            server.forget_peak()
            waves = math.ceil(256 / count)
            report = Load(server, streams=count, requests=waves * count, max_characters=CHARACTERS).report()
            spread = report["slowest_seconds"] / report["fastest_seconds"]
            memory = (server.peak_memory - idle) / count
            rates[count] = report["characters_per_second"]
            rows.append(_row(count, report, spread, memory))
    lines += [
        Claim("1,000 streams: completed", 1000, report["completed"], unit=""),
        Claim("1,000 streams: slowest against fastest", 1.5, spread, at_most=True),
        Claim("1,000 streams: memory per stream", 40, memory / 1024, at_most=True, unit="KiB"),
    ]

    def curve(axis: Axes) -> None:
        axis.plot(list(rates), list(rates.values()), marker="o", color=SERIES[0])
        axis.set(xscale="log", ylim=0, xlabel="streams", ylabel="characters/s", title="All streams, one core")

    def share(axis: Axes) -> None:
        axis.plot(list(rates), [rate / count for count, rate in rates.items()], marker="o", color=SERIES[0])
        axis.set(xscale="log", yscale="log", xlabel="streams", ylabel="characters/s", title="Each stream")

    return [
        "### From one stream to a thousand",
        f"Each wave has as many texts of {CHARACTERS} characters as there are streams, all sent at once. Memory per "
        "stream is the peak of resident memory minus that of the idle server before its first request, divided by the "
        "number of streams. Up to a few hundred streams, it is mostly the one-off cost of the first requests.",
        table(
            ["streams", "characters/s", "each", "first character p50 / p99, ms", "slowest / fastest", "KiB per stream"],
            rows,
        ),
        plot("streams", "characters per second by streams", curve, share),
    ]


def _row(count: int, report: dict[str, Any], spread: float, memory: float) -> list[str]:
    first = report["first_character_seconds"]
    return [
        str(count),
        f"{report['characters_per_second']:,.0f}",
        f"{report['characters_per_second'] / report['load']['streams']:,.0f}",
        f"{first['p50'] * 1e3:.1f} / {first['p99'] * 1e3:.1f}",
        f"{spread:.2f}",
        f"{memory / 1024:,.1f}",
    ]


def _start(folder: Path, lines: list[Claim]) -> list[str]:
    taken = []
    for _ in range(_STARTS):
        with served(folder) as server:
            taken.append(server.seconds_to_serve)
    lines.append(Claim("from the start of the process to SERVING", 1.5, median(taken), at_most=True, unit="s"))
    return [
        "### Start",
        f"The packaged model, {_STARTS} starts on one core: median {median(taken):.2f} s, slowest {max(taken):.2f} s.",
    ]
