"""Truncation: the cost of ``top_p``, ``top_k`` and ``min_p`` in a step of the packaged model, whose texts are real.

Inside the process, without a server. The batches take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.report import Claim, claims, table
from benchmarks.timing import interleave
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.runner import Runner
from nextchar_server.settings.config import PACKAGED_MODEL

TITLE = "Truncation"
K = 32
SECONDS = 10.0
_ROWS = (1, 16, 64)
_FREE = "free"
_WAYS = {
    _FREE: SamplingSettings(),
    "top_p 0.9": SamplingSettings(top_p=0.9),
    "top_p 0.99": SamplingSettings(top_p=0.99),
    "min_p 0.05": SamplingSettings(min_p=0.05),
    "min_p 0.05, top_p 0.9": SamplingSettings(min_p=0.05, top_p=0.9),
    "top_k 10": SamplingSettings(top_k=10),
    "top_k 40, top_p 0.9": SamplingSettings(top_k=40, top_p=0.9),
}


def measure(folder: Path) -> str:
    """Measures the steps and returns the section of the results."""
    runner = Runner(PACKAGED_MODEL)
    seconds = {
        B: interleave({way: steps_of(runner, B, settings) for way, settings in _WAYS.items()}, seconds=SECONDS)
        for B in _ROWS
    }
    ratio = seconds[64]["top_p 0.9"] / seconds[64][_FREE]
    return "\n\n".join(
        [
            f"The packaged model, int8, one thread, K={K} steps per call. In brackets: against free rows.",
            claims([Claim("a step with top_p 0.9 against a free one, 64 rows", 1.15, ratio, at_most=True)]),
            table(
                ["rows take", *(f"{B} rows, µs per step" for B in _ROWS)],
                [
                    [way, *(f"{of[way] / K * 1e6:.1f} ({of[way] / of[_FREE]:.2f})" for of in seconds.values())]
                    for way in _WAYS
                ],
            ),
        ]
    )


def steps_of(runner: Runner, B: int, settings: SamplingSettings) -> Callable[[], object]:
    """Returns a call that advances B rows by K steps, and continues where the call before it ended."""
    batch = runner.start([settings] * B)
    forced, random_ = np.full((K, B), SAMPLE, np.int64), np.random.default_rng(0)
    return lambda: runner.advance(batch, forced, random_.random((K, B), np.float32))
