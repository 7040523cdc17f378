"""Scale: the cost of a character as batch, hidden size, layers and alphabet grow, and the cores that a load needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes

from benchmarks.kernel import steps_of
from benchmarks.limits import Node, nodes_alone
from benchmarks.models import WIDE, model_file, name_of
from benchmarks.plots import plot
from benchmarks.report import table
from benchmarks.rivals import CHARACTERS, STREAMS
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Load, served
from benchmarks.timing import interleave
from nextchar_model.runner import Runner
from nextchar_model.slices import most_rows
from nextchar_training.learning.recipe import Architecture
from nextchar_training.palette import SERIES

TITLE = "Scale"
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_HIDDEN_SIZES = (128, 256, 384, 512, 768, 1024, 1536, 2048)
_LAYERS = (1, 2, 3)
_ALPHABETS = (66, 257, 2001, 12001)  # with the boundary
_ROWS = (1, 64)


def measure(folder: Path) -> str:
    """Measures how the cost scales and returns the section of the results."""
    torch.set_num_threads(1)
    sections = [*_batch(folder), *_sizes(folder), *_alphabet(folder), *_replicas(folder)]
    return "\n\n".join(["int8, one thread.", *sections])


def _steps(paths: Sequence[Path], rows: Sequence[int]) -> dict[tuple[Path, int], float]:
    """Returns the seconds per step of each model file with each number of rows."""
    contestants, steps = {}, {}
    for path in paths:
        runner = Runner(path)
        for B in rows:
            started = time.perf_counter()
            steps_of(runner, B, 2)()
            # About 20 ms per call.
            steps[path, B] = max(2, min(100, int(0.02 / ((time.perf_counter() - started) / 2))))
            contestants[path, B] = steps_of(runner, B, steps[path, B])
    return {key: seconds / steps[key] for key, seconds in interleave(contestants, seconds=10).items()}


def _batch(folder: Path) -> list[str]:
    path = model_file(folder, WIDE)
    step = _steps([path], _BATCHES)
    rates = {B: B / step[path, B] for B in _BATCHES}

    def curve(axis: Axes) -> None:
        axis.plot(list(rates), list(rates.values()), marker="o", color=SERIES[0])
        axis.set(xscale="log", ylim=0, xlabel="rows B", ylabel="characters/s", title="1×512 by rows")

    return [
        "### By batch size",
        "With few rows, a step costs as much as reading the weights once and running each node, and the number of rows "
        "hardly matters. From about 16 on, the products fill the processor's units and each row costs the same. Bigger "
        f"batches than {most_rows(WIDE.hidden_size)} rows run in slices, because their intermediate tensors would fall "
        "out of the cache.",
        table(
            ["1×512: B", "µs per step", "µs per character", "characters/s"],
            [[B, f"{B / r * 1e6:.1f}", f"{1e6 / r:.2f}", f"{r:,.0f}"] for B, r in rates.items()],
        ),
        plot("batch", "characters per second by rows", curve),
    ]


def _sizes(folder: Path) -> list[str]:
    by_size = [Architecture(alphabet_size=WIDE.alphabet_size, hidden_size=H) for H in _HIDDEN_SIZES]
    by_layers = [
        Architecture(alphabet_size=WIDE.alphabet_size, hidden_size=WIDE.hidden_size, layers=L) for L in _LAYERS
    ]
    paths = {one: model_file(folder, one) for one in dict.fromkeys([*by_size, *by_layers])}
    step = _steps(list(paths.values()), _ROWS)
    rows = []
    for one, path in paths.items():
        weights = _recurrent_bytes(one)
        rows.append(
            [
                name_of(one),
                f"{weights / 2**20:.2f}",
                *(f"{step[path, B] * 1e6:.1f}" for B in _ROWS),
                f"{step[path, 64] / 64 * 1e6:.2f}",
                f"{weights / step[path, 1] / 1e9:.0f}",
            ]
        )

    def lines(architectures: Sequence[Architecture], x: Sequence[int], label: str, axis: Axes) -> None:
        for B, colour in zip(_ROWS, SERIES, strict=False):
            microseconds = [step[paths[one], B] / B * 1e6 for one in architectures]
            axis.plot(x, microseconds, marker="o", color=colour, label=f"B={B}")
        axis.set(yscale="log", xlabel=label, ylabel="µs per character")
        axis.legend(frameon=False)

    def hidden(axis: Axes) -> None:
        lines(by_size, _HIDDEN_SIZES, "hidden size", axis)
        axis.set(xscale="log", title="One layer, by hidden size")

    def layers(axis: Axes) -> None:
        lines(by_layers, _LAYERS, "layers", axis)
        axis.set(xticks=_LAYERS, title="512 wide, by layers")

    return [
        "### By hidden size and layers",
        "Weights are the bytes of the gates' products. A small model's step costs as much as running the nodes. A "
        "large model's costs as much as reading its weights at B=1, which is slower the farther away their cache is, "
        "and as much as multiplying by them at B=64, which grows with the square of the hidden size.",
        table(["model", "weights, MiB", "B=1, µs", "B=64, µs", "B=64, µs per character", "B=1, weights GB/s"], rows),
        plot("sizes", "µs per character by hidden size and layers", hidden, layers),
    ]


def _recurrent_bytes(architecture: Architecture) -> int:
    """Returns the bytes of the gates' int8 weights: 4·H outputs of H inputs, or of 2·H above the first layer."""
    H, L = architecture.hidden_size, architecture.layers
    return 4 * H * H * (2 * L - 1)


def _alphabet(folder: Path) -> list[str]:
    paths = {V: model_file(folder, Architecture(alphabet_size=V, hidden_size=WIDE.hidden_size)) for V in _ALPHABETS}
    step = _steps(list(paths.values()), _ROWS)
    parts: dict[str, Callable[[Node], bool]] = {
        "readout": lambda node: node.output == "logits",
        "softmaxes": lambda node: node.operator in ("LogSoftmax", "Softmax"),
        "draw": lambda node: node.output.startswith("free_") and node.operator != "Softmax",
    }
    costs: dict[tuple[int, int], dict[str, float]] = {}
    for B in _ROWS:
        for V, path in paths.items():
            nodes = nodes_alone(path, B)
            cost = {part: sum(node.seconds for node in nodes if belongs(node)) for part, belongs in parts.items()}
            costs[V, B] = cost | {"all else": step[path, B] - sum(cost.values())}
    rows = [
        [
            f"{V - 1:,}",
            B,
            *(f"{seconds * 1e6:.1f}" for seconds in cost.values()),
            f"{step[paths[V], B] * 1e6:.1f}",
            f"{step[paths[V], B] / B * 1e6:.2f}",
            f"{(cost['readout'] + cost['softmaxes']) / step[paths[V], B]:.0%}",
        ]
        for (V, B), cost in costs.items()
    ]

    def shares(axis: Axes) -> None:
        names = [f"{V - 1:,}" for V in _ALPHABETS]
        bottom = [0.0] * len(names)
        for part, colour in zip(("all else", *parts), SERIES, strict=False):
            height = [costs[V, 64][part] / 64 * 1e6 for V in _ALPHABETS]
            axis.bar(names, height, bottom=bottom, label=part, color=colour)
            bottom = [low + high for low, high in zip(bottom, height, strict=True)]
        axis.set(xlabel="characters of the alphabet", ylabel="µs per character", title="1×512, B=64, by alphabet")
        axis.legend(frameon=False)

    return [
        "### By alphabet",
        "An alphabet costs at least the readout's product and the softmaxes. These, and the draw from the "
        "distribution, are measured as nodes alone. All else is the network before them; its input is a product "
        "instead of a look-up if the alphabet is larger than the hidden size.",
        table(
            [
                "characters",
                "B",
                *(f"{part}, µs" for part in (*parts, "all else")),
                "step, µs",
                "µs per character",
                "readout and softmaxes",
            ],
            rows,
        ),
        plot("alphabet", "µs per character by alphabet", shares),
    ]


def _replicas(folder: Path) -> list[str]:
    """Predicts the throughput of two replicas from the figures of one, and measures it."""
    model = model_file(folder, WIDE)
    flags = {"streams": STREAMS, "max_characters": CHARACTERS, "ramp": 0.5, "seconds": 5}
    with served(folder, "--model", model) as first, served(folder, "--model", model, core=LOAD_CORE) as second:
        for server in (first, second):
            Load(server, streams=STREAMS, seconds=1, max_characters=CHARACTERS).report()
        alone = Load(first, **flags).report()
        loads = [Load(first, SERVER_CORE, **flags), Load(second, LOAD_CORE, **flags)]
        both = [load.report() for load in loads]
    rate = alone["characters_per_second"]
    generator = alone["cpu"] / rate  # core seconds per character
    predicted = 2 / (1 / rate + generator)
    measured = sum(report["characters_per_second"] for report in both)
    return [
        "### Replicas",
        "Replicas share nothing, so a load needs as many cores as its characters per second divided by one core's "
        f"rate: here {rate:,.0f} characters/s of {STREAMS} streams. To check this, two replicas ran on two cores, each "
        f"core shared with a load generator, which costs {generator * 1e6:.1f} µs per character. Predicted, as "
        f"2 / (1 / rate + that cost): {predicted:,.0f} characters/s. Measured: {measured:,.0f} "
        f"({measured / predicted:.0%}).",
    ]
