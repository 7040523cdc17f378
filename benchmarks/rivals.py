"""The rivals: servers for the same weights as people would write them, each as fast as we could make it.

Part of ``served``. Two are plain gRPC servers; the others are of the frameworks mosec and LitServe, which batch, once
with our own kernel in their loop and once with PyTorch. A framework that isn't installed is left out, and the results
say so. Invariant: while one server is measured, the others are halted, for some of them spin when nobody calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from matplotlib.axes import Axes

from benchmarks.baselines.pytorch import fastest_type
from benchmarks.models import WIDE, alphabet_of, checkpoint_file, model_file
from benchmarks.plots import plot
from benchmarks.report import Claim, table
from benchmarks.runs import ROUNDS, SECONDS, Run, between, first, rate, run
from benchmarks.servers import Load, Server, baseline
from nextchar_training.palette import SERIES

STREAMS = 64
CHARACTERS = 400
ARRIVALS = {"in step": 0.0, "staggered": 0.5}
"""The seconds over which the callers of a closed loop start."""
_OURS, _OURS_HTTP = "nextchar", "nextchar by HTTP"
_EAGER, _EAGER_BEST = "(a) PyTorch eager", "(a) PyTorch eager, oneDNN off"
_STEPPED = "(b) onnxruntime stepped from Python"
_PYTORCH = "PyTorch in bfloat16" if fastest_type() == torch.bfloat16 else "PyTorch"
_FRAMEWORKS = {"mosec": "(c) mosec", "litserve": "(d) LitServe"}
_WANTED = {
    **{
        f"{name}, {kernel}": ratio
        for name in _FRAMEWORKS.values()
        for kernel, ratio in (("our kernel", 1), (_PYTORCH, 2))
    },
    _STEPPED: 40,
    _EAGER_BEST: 60,
    _EAGER: 120,
}
"""How many times as fast as each rival our server is meant to be."""

_Runs = Mapping[str, Sequence[Run]]
"""Each server's runs."""


def against_rivals(folder: Path, ours: Server, http_port: int, kernel: float, lines: list[Claim]) -> list[str]:
    """Measures ``ours`` beside the rivals. Adds claims to ``lines`` and returns the section's paragraphs.

    ``http_port`` is that of ``ours``; ``kernel`` is the rate of the kernel alone, in characters per second.
    """
    by_http = replace(ours, port=http_port, dialect="completions", alphabet=_alphabet())
    with _rivals(folder) as rivals:
        servers = {_OURS: ours, _OURS_HTTP: by_http, **rivals}
        runs: dict[str, dict[str, list[Run]]] = {arrivals: {name: [] for name in servers} for arrivals in ARRIVALS}
        for _ in range(ROUNDS):
            for arrivals, ramp in ARRIVALS.items():
                for name, server in servers.items():
                    server.go_on()
                    runs[arrivals][name].append(run(server, streams=STREAMS, max_characters=CHARACTERS, ramp=ramp))
                    if name in rivals:
                        server.stop()
    for arrivals, found in runs.items():
        lines += _claims(arrivals, found, kernel)
    rows = [[name, arrivals, *_figures(one)] for arrivals, found in runs.items() for name, one in found.items()]
    missing = [name for name in _FRAMEWORKS if not find_spec(name)]
    return [
        f"### {STREAMS} streams beside the baselines",
        "A closed loop: each caller sends its next request when its last one has ended. The callers start in step, or "
        f"staggered over half a second. Medians of {ROUNDS} runs of {SECONDS:g} s, taken in turn. The server's CPU "
        "includes about half a second before the load begins; the second figure is that of the main thread, in which "
        "our event loop runs. (c) and (d) speak HTTP, all others gRPC except where the name says so. mosec runs a "
        "batch to its end before the next one begins, so its first characters wait for that.",
        *(f"{name} isn't installed, so its rows are missing; `make bench` installs it." for name in missing),
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
            rows,
        ),
        plot(
            "served",
            "characters per second of 64 streams, and time to their first characters",
            partial(_throughput, runs["staggered"]),
            partial(_waits, runs["staggered"]),
            width=6.6,
        ),
    ]


@contextmanager
def _rivals(folder: Path) -> Iterator[dict[str, Server]]:
    """Starts the rivals, warms them up and halts them, strongest first."""
    model, checkpoint = model_file(folder, WIDE), checkpoint_file(folder, WIDE)
    with ExitStack() as running:
        rivals: dict[str, Server] = {}
        for framework, name in _FRAMEWORKS.items():
            if not find_spec(framework):
                continue
            for kernel, file in (("our kernel", model), (_PYTORCH, checkpoint)):
                server = running.enter_context(baseline(folder, f"with_{framework}", file))
                rivals[f"{name}, {kernel}"] = replace(server, dialect="texts", alphabet=_alphabet())
        rivals[_STEPPED] = running.enter_context(baseline(folder, "stepped", checkpoint))
        rivals[_EAGER_BEST] = running.enter_context(baseline(folder, "eager", checkpoint, "--without-onednn"))
        rivals[_EAGER] = running.enter_context(baseline(folder, "eager", checkpoint))
        for server in rivals.values():
            Load(server, streams=4, requests=8, max_characters=40).report()
            server.stop()
        yield rivals


def _alphabet() -> str:
    return "".join(alphabet_of(WIDE.alphabet_size).symbols)


def _claims(arrivals: str, runs: _Runs, kernel: float) -> list[Claim]:
    """Returns the claims about one kind of arrivals."""
    ours, rivals = runs[_OURS], [name for name in _WANTED if name in runs]
    best = min(first(runs[name], "p99") for name in rivals)
    return [
        Claim(f"{STREAMS} streams {arrivals}, share of the kernel's rate", 0.8, rate(ours) / kernel, unit=""),
        *(
            Claim(f"{STREAMS} streams {arrivals}, against {name}", _WANTED[name], rate(ours) / rate(runs[name]))
            for name in rivals
        ),
        Claim(
            f"first character {arrivals}, p99, below the best baseline's",
            best * 1e3,
            first(ours, "p99") * 1e3,
            at_most=True,
            unit="ms",
        ),
    ]


def _figures(runs: Sequence[Run]) -> list[str]:
    """Returns the cells of the table for the runs of one server."""
    return [
        f"{rate(runs):,.0f}",
        f"{first(runs, 'p50') * 1e3:.1f} / {first(runs, 'p99') * 1e3:.1f}",
        f"{between(runs, 'p50') * 1e3:.2f} / {between(runs, 'p99') * 1e3:.2f}",
        f"{median(one.report['characters'] / max(one.report['messages'], 1) for one in runs):.1f}",
        f"{median(one.server_cpu for one in runs):.0%}, {median(one.loop_cpu for one in runs):.0%}",
        f"{median(one.report['cpu'] for one in runs):.0%}",
    ]


def _throughput(runs: _Runs, axis: Axes) -> None:
    _bars(axis, {name: rate(one) for name, one in runs.items()})
    axis.set(xlabel="characters/s, logarithmic", title=f"{STREAMS} streams, one core")


def _waits(runs: _Runs, axis: Axes) -> None:
    _bars(axis, {name: first(one, "p99") * 1e3 for name, one in runs.items()})
    axis.set(xlabel="ms, logarithmic", title="First character, p99")


def _bars(axis: Axes, values: Mapping[str, float]) -> None:
    known = {name: value for name, value in values.items() if math.isfinite(value)}  # not those without any character
    names = list(known)[::-1]
    colours = [SERIES[0] if name in (_OURS, _OURS_HTTP) else SERIES[1] for name in names]
    bars = axis.barh(names, [known[name] for name in names], color=colours)
    axis.bar_label(bars, [f" {known[name]:,.0f}" for name in names])
    axis.set(xscale="log", xlim=(min(known.values()) / 2, max(known.values()) * 8))
