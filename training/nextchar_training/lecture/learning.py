"""Learning: the loss of an answer, gradient descent, and two ways to speak.

Works on the networks of ``networks``. ``__main__`` teaches a text with it, and ``gap`` a task.

Invariant: the same network, texts and updates end in the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .networks import Lstm, LstmStep, Rnn, RnnStep, Targets, Weights

Network = Rnn | Lstm
RATE = 0.1
"""Learning rate for a short text. The gradient is a sum over the text, so longer ones need a smaller rate."""
CLIP = 5.0
"""Largest size of each number of a gradient."""


def loss(steps: Sequence[RnnStep | LstmStep], targets: Targets) -> float:
    """Returns the surprise at each target, -log p(target), summed over the text, in nats."""
    return float(
        sum(-np.log(step.p[target]) for step, target in zip(steps, targets, strict=True) if target is not None)
    )


def update(network: Network, texts: Sequence[tuple[Sequence[int], Targets]], *, learning_rate: float) -> float:
    """Makes one update from several texts, each with its targets. Returns their mean loss before it, in nats.

    Gradient descent: every weight goes a little against its gradient, summed over the texts. Gradients are clipped to
    [-5, 5], since a sum over many characters can explode.
    """
    total = 0.0
    gradients: Weights = {name: np.zeros_like(value) for name, value in network.weights.items()}
    for inputs, targets in texts:
        steps: Any = network.forward(inputs)
        total += loss(steps, targets)
        for name, gradient in network.backward(steps, targets).items():
            gradients[name] += gradient
    for name, gradient in gradients.items():
        network.weights[name] -= learning_rate * np.clip(gradient, -CLIP, CLIP)
    return total / len(texts)


def learn(network: Network, ids: Sequence[int], *, updates: int = 200, learning_rate: float = RATE) -> list[float]:
    """Teaches ``network`` to answer each of ``ids`` with the next one.

    Returns the loss before each update, in nats.
    """
    texts = [(ids[:-1], ids[1:])]
    return [update(network, texts, learning_rate=learning_rate) for _ in range(updates)]


def say(network: Network, ids: Sequence[int]) -> list[int]:
    """Returns the likeliest next id after each of ``ids``."""
    steps: Any = network.forward(ids)
    return [int(step.p.argmax()) for step in steps]


def sample(network: Network, first: int, count: int, random: np.random.Generator) -> list[int]:
    """Returns ``count`` ids after ``first``: each is drawn from p, then read as the next input."""
    ids: list[int] = []
    state: Any = network.start()
    for _ in range(count):
        step: Any = network.step(ids[-1] if ids else first, state)
        state = (step.h, step.c) if isinstance(step, LstmStep) else step.h
        ids.append(int(random.choice(len(step.p), p=step.p)))
    return ids
