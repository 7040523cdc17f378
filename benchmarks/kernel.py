"""The kernel: the cost of a character step inside the process, without a server.

Compares ``Runner.advance`` with PyTorch eager on the same weights, int8 with fp32, and two lanes with one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from matplotlib.axes import Axes

from benchmarks.models import DEEP, SMALL, WIDE, model_file, name_of, network_of
from benchmarks.plots import plot
from benchmarks.report import Claim, claims, table
from benchmarks.timing import interleave
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.cell import Precision
from nextchar_model.runner import Runner
from nextchar_training.learning.recipe import Architecture
from nextchar_training.palette import SERIES

TITLE = "Kernel"
K = 50
SECONDS = 6.0
_ROWS = (1, 16, 64)
_EAGER, _EAGER_BEST = "PyTorch eager", "PyTorch eager, oneDNN off"
_EAGER_STEPS = 10
_LANES = 2
_LANE_CALLS = 4


def measure(folder: Path) -> str:
    """Measures the kernel and returns the section of the results."""
    torch.set_num_threads(1)
    rows: list[list[object]] = []
    ratios: dict[str, dict[str, float]] = {}
    for architecture in (WIDE, DEEP, SMALL):
        name, step = name_of(architecture), _seconds_per_step(folder, architecture)
        rows += [[name, who, B, f"{s * 1e6:.1f}", f"{B / s:,.0f}"] for (who, B), s in step.items()]
        ratios[name] = {
            **{who: step[who, 1] / step["int8", 1] for who in (_EAGER, _EAGER_BEST)},
            **{f"fp32, B={B}": step["fp32", B] / step["int8", B] for B in _ROWS},
        }
    wide = ratios[name_of(WIDE)]
    lines = [
        Claim("int8 against PyTorch eager with its defaults, B=1", 15, wide[_EAGER]),
        Claim("int8 against PyTorch eager, oneDNN off, B=1", 7, wide[_EAGER_BEST]),
        Claim("int8 against fp32, B=1", 4, wide["fp32, B=1"]),
        Claim("int8 against fp32, B=64", 2.5, wide["fp32, B=64"]),
    ]
    lanes = {}
    for architecture, wanted in ((WIDE, 1.6), (DEEP, 1.8)):
        lanes[architecture] = one, two = _lanes(Runner(model_file(folder, architecture)))
        lines.append(Claim(f"two lanes against one, 64 rows each, {name_of(architecture)}", wanted, two / one))
    return "\n\n".join(
        [
            f"One thread, K={K} steps per call, V=66, embedding 128. A step of `Runner.advance` includes sampling; "
            "PyTorch's is the network alone (embedding, `nn.LSTM`, readout) and, in the rows that say so, softmax and "
            "`torch.multinomial`.",
            claims(lines),
            table(["model", "contestant", "B", "µs per step", "characters/s"], rows),
            "How many times faster int8 is:",
            table(
                ["model", *(f"than {who}" for who in wide)],
                [[name, *(f"{ratio:.1f}" for ratio in one.values())] for name, one in ratios.items()],
            ),
            plot("kernel", "how many times faster int8 is, by model", partial(_draw_ratios, ratios), width=7.5),
            "Lanes: Python threads that share one session, 64 rows each.",
            table(
                ["model", "one lane, characters/s", f"{_LANES} lanes, characters/s", "ratio"],
                [[name_of(a), f"{one:,.0f}", f"{two:,.0f}", f"{two / one:.2f}"] for a, (one, two) in lanes.items()],
            ),
        ]
    )


def _seconds_per_step(folder: Path, architecture: Architecture) -> dict[tuple[str, int], float]:
    """Returns the seconds per step of each contestant with each number of rows."""
    contestants: dict[tuple[str, int], Callable[[], object]] = {
        (precision, B): steps_of(Runner(model_file(folder, architecture, precision)), B)
        for precision in get_args(Precision)
        for B in _ROWS
    }
    contestants[_EAGER, 1] = _eager(architecture, samples=False, onednn=True)
    contestants[_EAGER_BEST, 1] = _eager(architecture, samples=False, onednn=False)
    contestants[f"{_EAGER}, with sampling", 1] = _eager(architecture, samples=True, onednn=True)
    contestants[f"{_EAGER_BEST}, with sampling", 1] = _eager(architecture, samples=True, onednn=False)
    return {
        key: seconds / (_EAGER_STEPS if key[0].startswith(_EAGER) else K)
        for key, seconds in interleave(contestants, seconds=SECONDS).items()
    }


def _draw_ratios(ratios: dict[str, dict[str, float]], axis: Axes) -> None:
    for place, (who, colour) in enumerate(zip((_EAGER, _EAGER_BEST, "fp32, B=1"), SERIES[1:], strict=False)):
        bars = axis.bar(
            [model + 0.27 * (place - 1) for model in range(len(ratios))],
            [one[who] for one in ratios.values()],
            width=0.25,
            label=who,
            color=colour,
        )
        axis.bar_label(bars, fmt="%.1f", fontsize=8)
    axis.set(xticks=range(len(ratios)), xticklabels=list(ratios), title="One row: how many times faster int8 is than")
    axis.legend(frameon=False)


def steps_of(runner: Runner, B: int, steps: int = K) -> Callable[[], object]:
    """Returns a call that advances B generating rows by ``steps``, and continues where the call before it ended."""
    batch = runner.start([SamplingSettings()] * B)
    forced = np.full((steps, B), SAMPLE, np.int64)
    draws = np.random.default_rng(0).random((steps, B), np.float32)
    return lambda: runner.advance(batch, forced, draws)


def _eager(architecture: Architecture, *, samples: bool, onednn: bool) -> Callable[[], object]:
    """Returns a call that takes ``_EAGER_STEPS`` steps of one row in PyTorch."""
    network = network_of(architecture)
    state = network.initial_state(1)
    ids = torch.zeros(1, 1, dtype=torch.long)

    @torch.inference_mode()
    def call() -> None:
        nonlocal state, ids
        with torch.backends.mkldnn.flags(enabled=onednn):
            for _ in range(_EAGER_STEPS):
                logits, state = network(ids, state)  # (1, 1, V)
                if samples:
                    ids = torch.multinomial(logits[0].softmax(-1), 1)

    return call


def _lanes(runner: Runner) -> tuple[float, float]:
    """Returns the characters per second of one lane of 64 rows, and of two lanes of 64 rows each."""
    calls = [steps_of(runner, 64) for _ in range(_LANES)]
    with ThreadPoolExecutor(_LANES) as pool:

        def run(lanes: int) -> None:
            list(pool.map(lambda call: [call() for _ in range(_LANE_CALLS)], calls[:lanes]))

        seconds = interleave({lanes: partial(run, lanes) for lanes in (1, _LANES)}, seconds=SECONDS)
    characters = 64 * K * _LANE_CALLS
    return characters / seconds[1], _LANES * characters / seconds[_LANES]
