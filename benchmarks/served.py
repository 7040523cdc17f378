"""The server: the speed of streams over gRPC, compared with the servers that people usually write.

Our server and the baselines are pinned to one core, and ``nextchar bench`` to another.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.axes import Axes

from benchmarks.kernel import steps_of
from benchmarks.models import WIDE, checkpoint_file, model_file
from benchmarks.plots import plot
from benchmarks.report import Claim, claims, table
from benchmarks.servers import SERVER_CORE, Load, Server, baseline, served
from benchmarks.timing import interleave
from nextchar_model.runner import Runner
from nextchar_training.palette import SERIES

TITLE = "Served"
STREAMS = 64
CHARACTERS = 400
_SECONDS = 5.0
_ROUNDS = 2
_STARTS = 5
_IDLE_SECONDS = 10.0
_ARRIVALS = {"in step": 0.0, "staggered": 0.5}  # the seconds over which the callers of a closed loop start
_OURS = "nextchar"
_EAGER, _EAGER_BEST = "(a) PyTorch eager", "(a) PyTorch eager, oneDNN off"
_STEPPED = "(b) onnxruntime stepped from Python"
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


def measure(folder: Path) -> str:
    """Measures the server and returns the section of the results."""
    torch.set_num_threads(1)
    model, checkpoint = model_file(folder, WIDE), checkpoint_file(folder, WIDE)
    kernel = _kernel(model)
    sections: list[str] = []
    lines: list[Claim] = []
    with ExitStack() as running:
        ours = running.enter_context(served(folder, "--model", model))
        servers = {
            _OURS: ours,
            _EAGER: running.enter_context(baseline(folder, "eager", checkpoint)),
            _EAGER_BEST: running.enter_context(baseline(folder, "eager", checkpoint, "--without-onednn")),
            _STEPPED: running.enter_context(baseline(folder, "stepped", checkpoint)),
        }
        Load(ours, streams=STREAMS, seconds=1, max_characters=CHARACTERS).report()  # warms up
        sections += _against_baselines(servers, kernel, lines)
        sections += _one_stream(ours, kernel, lines)
        sections += _newcomers(ours, lines)
        sections += _idle(ours, lines)
    sections += _many(folder, model, lines)
    sections += _start(folder, lines)
    introduction = (
        f"1×512, int8 (fp32 in the baselines), V=66. The server on one core, `nextchar bench` on the other; prompts of "
        f"16 characters, texts of {CHARACTERS}. The kernel's own rate on that core: {kernel[1]:,.0f} characters/s at "
        f"B=1, {kernel[STREAMS]:,.0f} at B={STREAMS}."
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


@dataclass(frozen=True)
class _Run:
    """One load on one server, and the server's use of the CPU meanwhile."""

    report: dict[str, Any]
    server_cpu: float
    """Cores used by all threads."""
    loop_cpu: float
    """Cores used by the main thread alone, in which our event loop runs."""


def _run(server: Server, *, seconds: float = _SECONDS, **flags: float) -> _Run:
    before, started = server.cpu_seconds, time.perf_counter()
    # Texts that are still running a little after the window are cut off; the throughput counts their characters so far.
    report = Load(server, seconds=seconds, **flags).report(seconds + 2)
    after, took = server.cpu_seconds, time.perf_counter() - started
    return _Run(report, (after[0] - before[0]) / took, (after[1] - before[1]) / took)


def _rate(runs: Iterable[_Run]) -> float:
    return median(float(run.report["characters_per_second"]) for run in runs)


def _first(runs: Iterable[_Run], percentile: str) -> float:
    return median(float(run.report["first_character_seconds"][percentile]) for run in runs)


def _against_baselines(servers: dict[str, Server], kernel: dict[int, float], lines: list[Claim]) -> list[str]:
    runs: dict[tuple[str, str], list[_Run]] = {}
    for _ in range(_ROUNDS):
        for arrivals, ramp in _ARRIVALS.items():
            for name, server in servers.items():
                run = _run(server, streams=STREAMS, max_characters=CHARACTERS, ramp=ramp)
                runs.setdefault((name, arrivals), []).append(run)
    for arrivals in _ARRIVALS:
        lines += _baseline_claims(arrivals, {name: runs[name, arrivals] for name in servers}, kernel[STREAMS])

    def throughput(axis: Axes) -> None:
        names = list(servers)[::-1]
        rates = [_rate(runs[name, "staggered"]) for name in names]
        bars = axis.barh(names, rates, color=[SERIES[0] if name == _OURS else SERIES[1] for name in names])
        axis.bar_label(bars, [f" {rate:,.0f}" for rate in rates])
        axis.set(xscale="log", xlim=(100, 1.5e6), xlabel="characters/s", title=f"{STREAMS} streams, one core")

    return [
        f"### {STREAMS} streams beside the baselines",
        "A closed loop: each caller sends its next request when its last one has ended. The callers start in step, or "
        f"staggered over half a second. Medians of {_ROUNDS} runs of {_SECONDS:g} s, taken in turn. The server's CPU "
        "includes about half a second before the load begins; the second figure is that of the main thread, in which "
        "our event loop runs.",
        table(
            [
                "server",
                "arrivals",
                "characters/s",
                "first character p50 / p99, ms",
                "between characters p50 / p99, ms",
                "characters per message",
                "server's CPU: all, main thread",
                "load generator's CPU",
            ],
            [[name, arrivals, *_figures(one)] for (name, arrivals), one in runs.items()],
        ),
        plot("served", "characters per second of 64 streams", throughput, width=7.5),
    ]


def _baseline_claims(arrivals: str, runs: dict[str, list[_Run]], kernel_rate: float) -> list[Claim]:
    """Returns the claims about one kind of arrivals, given each server's runs."""
    ours = runs[_OURS]
    wanted = {_EAGER: 120, _EAGER_BEST: 60, _STEPPED: 40}
    best = min(_first(runs[name], "p99") for name in wanted)
    return [
        Claim(f"{STREAMS} streams {arrivals}, share of the kernel's rate", 0.8, _rate(ours) / kernel_rate, unit=""),
        *(
            Claim(f"{STREAMS} streams {arrivals}, against {name}", ratio, _rate(ours) / _rate(runs[name]))
            for name, ratio in wanted.items()
        ),
        Claim(
            f"first character {arrivals}, p99, below the best baseline's",
            best * 1e3,
            _first(ours, "p99") * 1e3,
            at_most=True,
            unit="ms",
        ),
    ]


def _figures(runs: Sequence[_Run]) -> list[str]:
    """Returns the cells of the table of baselines for the runs of one server."""
    between = [median(run.report["inter_character_seconds"][p] for run in runs) * 1e3 for p in ("p50", "p99")]
    return [
        f"{_rate(runs):,.0f}",
        f"{_first(runs, 'p50') * 1e3:.1f} / {_first(runs, 'p99') * 1e3:.1f}",
        " / ".join(f"{milliseconds:.2f}" for milliseconds in between),
        f"{median(run.report['characters'] / run.report['messages'] for run in runs):.1f}",
        f"{median(run.server_cpu for run in runs):.0%}, {median(run.loop_cpu for run in runs):.0%}",
        f"{median(run.report['cpu'] for run in runs):.0%}",
    ]


def _one_stream(server: Server, kernel: dict[int, float], lines: list[Claim]) -> list[str]:
    rows = []
    for characters in (CHARACTERS, 10 * CHARACTERS):
        runs = [_run(server, streams=1, seconds=3, max_characters=characters)]
        share = _rate(runs) / kernel[1]
        if characters == CHARACTERS:
            name = f"one stream of {characters} characters, share of the kernel's rate"
            lines.append(Claim(name, 0.6, share, unit=""))
        first = f"{_first(runs, 'p50') * 1e3:.2f} / {_first(runs, 'p99') * 1e3:.2f}"
        rows.append([characters, f"{_rate(runs):,.0f}", f"{share:.0%}", first])
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
    for _ in range(_ROUNDS):
        alone.append(_run(server, **background).report["characters_per_second"])
        long = Load(server, seconds=_SECONDS + 2, **background)
        time.sleep(1.5)  # until it is up to speed
        short = _run(server, rate=20, max_characters=32, seconds=_SECONDS).report
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
