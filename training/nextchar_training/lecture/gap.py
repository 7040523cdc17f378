"""The gap: a task that the LSTM learns with most first weights, and the plain network with few.

A text is a letter, a gap of other letters drawn at random, and a question mark; the answer is the first letter. Only
the answer counts. On "hello", which needs two characters of memory, the plain network ends with the lower loss: that
text cannot tell the two apart. This task can: there is nothing to learn but to keep.

Invariant: a trial is a function of its options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .learning import Network, update
from .networks import Lstm, Rnn, Targets

LETTERS = "abxyz?"
"""a or b is to be kept; x, y and z fill the gap; ? asks."""
KEPT, FILLERS, QUESTION = (0, 1), (2, 5), 5
TEXTS = 4
"""Texts per update, half of them with each answer."""
RATES = {"rnn": 0.1, "lstm": 0.3}
"""Learning rates: of 0.1 and 0.3, the one that suits the cell. With 0.3 most losses of the plain network explode; with
0.1 the LSTM learns the task with 6 of ten seeds in 300 updates, against 7 with 0.3."""
LEARNT = 0.1
"""Mean loss of ten updates, in nats, from which the task counts as learnt. A guess costs log 2 = 0.693."""


def make(cell: str, H: int, seed: int, V: int = len(LETTERS)) -> Network:
    """Returns a fresh network: ``rnn``, or ``lstm`` with its forget bias behind it, as in ``lstm3``."""
    if cell == "rnn":
        return Rnn(V, H, seed)
    return Lstm(V, H, seed, forget_bias=float(cell.removeprefix("lstm") or 0))


def texts(gap: int, random: np.random.Generator) -> list[tuple[list[int], Targets]]:
    """Returns the texts of one update, each with its targets: None at all characters before the question mark."""
    return [
        ([kept, *random.integers(*FILLERS, gap).tolist(), QUESTION], [None] * (gap + 1) + [kept])
        for kept in KEPT
        for _ in range(TEXTS // 2)
    ]


@dataclass(frozen=True)
class Trial:
    """The losses of one training on the task, one per update, in nats."""

    losses: list[float]

    @property
    def loss(self) -> float:
        """The mean loss of the last ten updates."""
        return float(np.mean(self.losses[-10:]))

    @property
    def learnt(self) -> bool:
        """Whether ten updates have a mean loss below ``LEARNT``."""
        return len(self.losses) >= 10 and self.loss < LEARNT


def attempt(network: Network, *, gap: int, updates: int, seed: int = 7, learning_rate: float | None = None) -> Trial:
    """Trains ``network`` on the task until it has learnt it, for ``updates`` at most, each on fresh texts.

    ``seed`` draws the texts. The learning rate is that of ``RATES`` unless it is given.
    """
    rate = RATES["rnn" if isinstance(network, Rnn) else "lstm"] if learning_rate is None else learning_rate
    random = np.random.default_rng(seed)
    trial = Trial([])
    while len(trial.losses) < updates and not trial.learnt:
        trial.losses.append(update(network, texts(gap, random), learning_rate=rate))
    return trial


def flow(network: Network, inputs: Sequence[int], target: int) -> list[tuple[float, ...]]:
    """Returns how much of the error at the last character arrives at each step back, ‖∂loss/∂state‖ as a share of its
    norm at the last step.

    The first entry is that of the last character. An entry is (dh,) for the plain network, (dh, dc) for an LSTM.
    """
    steps: Any = network.forward(inputs)
    trace: list[tuple[Any, ...]] = []
    network.backward(steps, [None] * (len(inputs) - 1) + [target], trace)
    norms = [tuple(float(np.linalg.norm(d)) for d in entry) for entry in trace]
    return [tuple(norm / last for norm, last in zip(entry, norms[0], strict=True)) for entry in norms]
