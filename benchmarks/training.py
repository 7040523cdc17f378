"""Training: the loss that a budget of minutes reaches on two cores, and the speed compared with a plain loop.

``make bench-training`` runs it; ``make bench`` doesn't, because it takes more than an hour. Every run is
``nextchar-train fit`` as the README shows it, on Tiny Shakespeare with its last tenth held out. Its minutes don't
include installation, reading the text or the final evaluation.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch
from torch import nn
from torch.nn import functional

from benchmarks.report import Claim, claims, table
from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.folder import RunFolder

TITLE = "Training"
CORPUS = "tinyshakespeare"
CORES = 2


@dataclass(frozen=True)
class Budget:
    """A training time in minutes, its options, the number of seeds to try, and the losses that it should reach."""

    minutes: int
    seeds: int
    options: Sequence[str]
    stateful: float
    windows: float


_PERIOD = 16
_RECIPE = (f"--averaging-period={_PERIOD}",)
_WIDE = ("--hidden-size=768", "--learning-rate=0.005", "--dropout=0.5", "--weight-decay=0.3")

BUDGETS = (
    Budget(5, 3, (*_RECIPE, "--dropout=0.4"), stateful=1.43, windows=1.455),
    Budget(10, 2, (*_RECIPE, "--dropout=0.5"), stateful=1.41, windows=1.435),
    Budget(30, 1, (*_RECIPE, *_WIDE), stateful=1.39, windows=1.42),
)

_SPEED_MINUTES = 0.5
_SPEED_ROUNDS = 3
_PLAIN_SECONDS = 20.0


def measure(folder: Path) -> str:
    """Measures training and returns the section of the results."""
    plain, shared, apart = _speeds(folder)
    rows: list[list[object]] = []
    wanted = [Claim("characters per second, against a plain fp32 loop of two threads", 5, max(shared, apart) / plain)]
    for budget in BUDGETS:
        results = []
        for seed in range(1, budget.seeds + 1):
            best, speed = _fit(folder, budget.minutes, seed, budget.options)
            results.append(best)
            rows.append(
                [budget.minutes, seed, " ".join(budget.options), f"{speed:,.0f}", *(f"{loss:.4f}" for loss in best)]
            )
        stateful, windows = (mean(losses) for losses in zip(*results, strict=True))
        of = f"mean of {budget.seeds} seeds" if budget.seeds > 1 else "one seed"
        for protocol, reached, limit in (("stateful", stateful, budget.stateful), ("windows", windows, budget.windows)):
            wanted.append(
                Claim(f"{budget.minutes} minutes, {protocol}, {of}", limit, reached, at_most=True, unit="nats")
            )
    return "\n\n".join(
        [
            claims(wanted),
            f"A plain loop over `nn.LSTM` in fp32 on {CORES} threads reads {plain:,.0f} characters per second. "
            f"`nextchar-train fit` with {CORES} processes, including its evaluations, reads {shared:,.0f} if they "
            f"share every step and {apart:,.0f} if they average every {_PERIOD} steps (medians of {_SPEED_ROUNDS} "
            "rounds, taken in turn; 1×512, batches of 64×64 and of two halves of 64×32).",
            table(["minutes", "seed", "options", "characters/s", "stateful", "windows"], rows),
        ]
    )


def _fit(folder: Path, minutes: float, seed: int, options: Sequence[str]) -> tuple[tuple[float, float], float]:
    """Trains once. Returns the losses, stateful and in windows, and the characters read per second."""
    run = RunFolder(folder / "run", overwrite=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "nextchar_training", "fit", CORPUS, "--out", run.path, "--overwrite"),
            *("--minutes", str(minutes), "--seed", str(seed), "--processes", str(CORES), "--threads=1", *options),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    record, last = load_checkpoint(run.best).record, run.read_losses()[-1]
    assert record.stateful_loss is not None
    assert record.windows_loss is not None
    return (record.stateful_loss, record.windows_loss), last.characters / last.seconds


def _speeds(folder: Path) -> tuple[float, float, float]:
    """Returns the characters per second of the plain loop, and of ``fit`` with every step shared and with averaging."""
    rounds = [
        (
            _plain_speed(),
            _fit(folder, _SPEED_MINUTES, seed, ())[1],
            _fit(folder, _SPEED_MINUTES, seed, _RECIPE)[1],
        )
        for seed in range(1, _SPEED_ROUNDS + 1)
    ]
    plain, shared, apart = (median(speeds) for speeds in zip(*rounds, strict=True))
    return plain, shared, apart


def _plain_speed() -> float:
    """Returns the characters per second of a tutorial's loop: the same network in fp32, with one thread per core."""
    B, T, V, E, H = 64, 64, 66, 128, 512
    torch.set_num_threads(CORES)
    embedding, lstm, readout = nn.Embedding(V, E), nn.LSTM(E, H), nn.Linear(H, V)
    parameters = [weight for module in (embedding, lstm, readout) for weight in module.parameters()]
    optimizer = torch.optim.AdamW(parameters)
    ids = torch.randint(V, (T + 1, B))
    steps = 0
    started = time.perf_counter()
    while (seconds := time.perf_counter() - started) < _PLAIN_SECONDS:
        hidden, _ = lstm(embedding(ids[:-1]))
        loss = functional.cross_entropy(readout(hidden).flatten(0, 1), ids[1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        steps += 1
    return steps * B * T / seconds
