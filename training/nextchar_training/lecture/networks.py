"""The networks: recurrent networks with every step in sight.

The rest of nextchar is fast. This file is open: it works in NumPy, one character after another. A network reads "hell"
and says "ello"; you see its memory, how it learns, why it forgets, and the cell that forgets less. Read it from top to
bottom, then ``gap``, the task that tells the two networks apart.

Tests compare its gradients with PyTorch's and with finite differences, and its LSTM with the model file that the
exporter makes from the same weights.

Invariant: ``backward`` returns the exact gradient of ``loss``.

Shapes: T characters of one text, V ids, H hidden size. A vector is one-dimensional, and ``W @ x`` a matrix times it;
``np.outer(a, b)`` is a·bᵀ. A gradient ``dx`` is ∂loss/∂x, and has the shape of ``x``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]
Targets = Sequence[int | None]
"""The id to answer after each character; None: no answer is asked for there."""

# Characters become vectors.


def one_hot(id_: int, V: int) -> Array:
    """Returns the vector [V] of a character: 1 at its id, 0 elsewhere.

    A matrix times this vector is one of the matrix's columns. So a matrix that is applied to characters is a table with
    a vector per character.
    """
    x = np.zeros(V)
    x[id_] = 1.0
    return x


def softmax(y: Array) -> Array:
    """Turns scores [V] into probabilities [V]: positive, with the sum 1, in the proportions of e^score.

    Subtracting the largest score changes no proportion and keeps e^score finite.
    """
    e: Array = np.exp(y - y.max())
    return np.asarray(e / e.sum())


def sigmoid(a: Array) -> Array:
    """Squeezes any number into 0 to 1: how far a gate is open."""
    return 1 / (1 + np.exp(-a))


def error(p: Array, target: int | None) -> Array:
    """Returns ∂loss/∂y [V], of softmax and cross-entropy together: each probability, less 1 at the target."""
    return np.zeros_like(p) if target is None else p - one_hot(target, len(p))


Trace = list[tuple[Array, ...]]
"""∂loss/∂state of each step, from the last character to the first."""


# The recurrent network: one state, and the same weights at every character.


@dataclass(frozen=True)
class RnnStep:
    """The values that one character left behind, for the way back."""

    x: Array
    h_before: Array
    h: Array
    y: Array
    """Scores of the next character, [V]."""
    p: Array
    """Probabilities of the next character, [V]."""


class Rnn:
    """A recurrent network (Elman 1990).

    h(t) = tanh(Wxh·x(t) + Whh·h(t-1) + bh): the new state comes from the character and from the old state.
    y(t) = Why·h(t) + by: scores of the next character.

    Wxh is [H, V], Whh [H, H], Why [V, H]. They are the same at every t. Therefore the network can read a text of
    any length, and each weight's gradient is a sum over all characters.
    """

    def __init__(self, V: int, H: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.weights: Weights = {
            "Wxh": random.normal(0, 1, (H, V)) / np.sqrt(H),
            "Whh": random.normal(0, 1, (H, H)) / np.sqrt(H),
            "bh": np.zeros(H),
            "Why": random.normal(0, 1, (V, H)) / np.sqrt(H),
            "by": np.zeros(V),
        }

    def start(self) -> Array:
        """Returns the state before a text: nothing was read, nothing is remembered."""
        return np.zeros_like(self.weights["bh"])

    def step(self, id_: int, h_before: Array) -> RnnStep:
        """Reads one character."""
        w = self.weights
        x = one_hot(id_, len(w["by"]))
        h = np.tanh(w["Wxh"] @ x + w["Whh"] @ h_before + w["bh"])
        y = w["Why"] @ h + w["by"]
        return RnnStep(x, h_before, h, y, softmax(y))

    def forward(self, ids: Sequence[int], h: Array | None = None) -> list[RnnStep]:
        """Reads a text from the state ``h``, or from the start: each step hands its state to the next."""
        h = self.start() if h is None else h
        steps = []
        for id_ in ids:
            steps.append(self.step(id_, h))
            h = steps[-1].h
        return steps

    def backward(self, steps: Sequence[RnnStep], targets: Targets, trace: Trace | None = None) -> Weights:
        """Returns the gradients of ``loss(steps, targets)`` by weight: back-propagation through time (Werbos 1990).

        It goes from the last character to the first. Two errors meet at h(t): its own, and the one that comes back from
        the next step, to which it was handed. At each step back the second goes through Whhᵀ and through tanh's slope,
        which is at most 1. After many steps little of it is left or, if Whh is large, far too much. That is the
        vanishing gradient (Hochreiter 1991; Bengio et al. 1994): this network learns nothing across a hundred
        characters. ``trace`` collects (dh,) of each step.
        """
        w = self.weights
        gradients = {name: np.zeros_like(value) for name, value in w.items()}
        dh_next = np.zeros_like(w["bh"])
        for step, target in zip(reversed(steps), reversed(targets), strict=True):
            dy = error(step.p, target)
            gradients["Why"] += np.outer(dy, step.h)
            gradients["by"] += dy
            dh = w["Why"].T @ dy + dh_next
            if trace is not None:
                trace.append((dh,))
            dh_raw = (1 - step.h**2) * dh  # through tanh
            gradients["Wxh"] += np.outer(dh_raw, step.x)
            gradients["Whh"] += np.outer(dh_raw, step.h_before)
            gradients["bh"] += dh_raw
            dh_next = w["Whh"].T @ dh_raw
        return gradients


# The LSTM: a second state that is only added to.


@dataclass(frozen=True)
class LstmStep:
    """The values that one character left behind, for the way back."""

    z: Array
    """The character and the old state, one after the other, [V + H]."""
    c_before: Array
    i: Array
    f: Array
    g: Array
    o: Array
    c: Array
    h: Array
    y: Array
    """Scores of the next character, [V]."""
    p: Array
    """Probabilities of the next character, [V]."""


class Lstm:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), with a forget gate (Gers et al. 2000).

    One matrix W [4H, V + H] sees the character and the old state, and its product is cut in four:

        i = σ(·)     input gate: how much of the candidate is written
        f = σ(·)     forget gate: how much of the cell is kept
        g = tanh(·)  candidate: what could be written
        o = σ(·)     output gate: how much of the cell is shown

        c(t) = f * c(t-1) + i * g
        h(t) = o * tanh(c(t))

    The cell state c is a conveyor belt: it passes from step to step with no matrix and no tanh in its way, scaled by f
    and added to. The order of the four is PyTorch's. ``forget_bias`` is f's first bias: with 0 the gates begin half
    open, f = σ(0) = 0.5; with 3 they begin nearly open, f = σ(3) = 0.95 (Jozefowicz et al. 2015 use 1).
    """

    def __init__(self, V: int, H: int, seed: int = 0, *, forget_bias: float = 0.0) -> None:
        random = np.random.default_rng(seed)
        self.weights: Weights = {
            "W": random.normal(0, 1, (4 * H, V + H)) / np.sqrt(V + H),
            "b": np.zeros(4 * H),
            "Why": random.normal(0, 1, (V, H)) / np.sqrt(H),
            "by": np.zeros(V),
        }
        self.weights["b"][H : 2 * H] = forget_bias

    def start(self) -> tuple[Array, Array]:
        """Returns the states h and c before a text."""
        H = self.weights["Why"].shape[1]
        return np.zeros(H), np.zeros(H)

    def step(self, id_: int, state: tuple[Array, Array]) -> LstmStep:
        """Reads one character."""
        w = self.weights
        h_before, c_before = state
        z = np.concatenate([one_hot(id_, len(w["by"])), h_before])
        i_raw, f_raw, g_raw, o_raw = np.split(w["W"] @ z + w["b"], 4)
        i, f, g, o = sigmoid(i_raw), sigmoid(f_raw), np.tanh(g_raw), sigmoid(o_raw)
        c = f * c_before + i * g
        h = o * np.tanh(c)
        y = w["Why"] @ h + w["by"]
        return LstmStep(z, c_before, i, f, g, o, c, h, y, softmax(y))

    def forward(self, ids: Sequence[int], state: tuple[Array, Array] | None = None) -> list[LstmStep]:
        """Reads a text from ``state``, or from the start: each step hands both its states to the next."""
        state = self.start() if state is None else state
        steps = []
        for id_ in ids:
            steps.append(self.step(id_, state))
            state = steps[-1].h, steps[-1].c
        return steps

    def backward(self, steps: Sequence[LstmStep], targets: Targets, trace: Trace | None = None) -> Weights:
        """Returns the gradients of ``loss(steps, targets)`` by weight.

        Two gradients come back from the next step. ``dh_next`` goes through W, as in the plain network. ``dc_next``
        went through the forget gate alone, f * dc: this path, the conveyor belt, neither has a matrix nor a tanh, and
        keeps the error if f is near 1. At each step dh adds its part to dc. ``trace`` collects (dh, dc) of each step.
        """
        w = self.weights
        V = len(w["by"])
        gradients = {name: np.zeros_like(value) for name, value in w.items()}
        dh_next, dc_next = np.zeros_like(steps[0].h), np.zeros_like(steps[0].c)
        for step, target in zip(reversed(steps), reversed(targets), strict=True):
            dy = error(step.p, target)
            gradients["Why"] += np.outer(dy, step.h)
            gradients["by"] += dy
            dh = w["Why"].T @ dy + dh_next
            # h = o * tanh(c)
            do = dh * np.tanh(step.c)
            dc = dc_next + dh * step.o * (1 - np.tanh(step.c) ** 2)
            if trace is not None:
                trace.append((dh, dc))
            # c = f * c_before + i * g
            di, df, dg = dc * step.g, dc * step.c_before, dc * step.i
            dc_next = dc * step.f
            # Each through its squeezing function, then joined again as they were cut.
            d_raw = np.concatenate(
                [
                    di * step.i * (1 - step.i),
                    df * step.f * (1 - step.f),
                    dg * (1 - step.g**2),
                    do * step.o * (1 - step.o),
                ]
            )
            gradients["W"] += np.outer(d_raw, step.z)
            gradients["b"] += d_raw
            dh_next = (w["W"].T @ d_raw)[V:]
        return gradients
