"""The gradients: how far back in a text a network's error reaches.

Beside the flow, for people who learn: it trains a small network of each cell in the same way. Before and after, it
measures how large the gradient of the loss at one character is at the states of the characters before it. In an RNN the
gradient shrinks by a factor at every character (Hochreiter 1991; Bengio, Simard & Frasconi 1994), so characters far
back teach nothing. An LSTM's cell is the conveyor belt that carries it past. If the recurrent weights are large, the
gradient grows by a factor instead (see ``clipping``).

Shapes: B windows, T characters, H hidden size, K how many characters back, P parts of a layer's state.
"""

from __future__ import annotations

import copy
import csv
import io
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nextchar_model.alphabet import Ids
from nextchar_model.cell import Cell

from ..data.batches import TextTooShortError
from ..data.split import Split
from ..files import write_text
from ..learning.evaluation import NetworkScorer, nats, spread, windows
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import VALIDATION_CHARACTERS, Trainer
from ..run.ledger import Ledger
from ..run.terminal import TerminalReporter
from .unrolled import step

REACH = 100
"""K: the furthest character back that is measured."""

WARM_UP = 100
"""Characters that a window reads before those, so that its states are like those in the middle of a text."""

WINDOWS = 512
"""Most windows of held-out text that a norm is averaged over."""

_BATCH = 64  # windows at a time, so that memory stays bounded

Weights = Literal["initial", "trained", "scaled"]
"""Before the training, after it, and before it with larger recurrent weights (see ``clipping``)."""

Part = Literal["hidden", "cell"]


@dataclass(frozen=True)
class GradientRow:
    """The norm of ∂loss(t)/∂state(t-k), the mean over many t."""

    cell: Cell
    weights: Weights
    state: Part
    k: int
    norm: float


@dataclass(frozen=True)
class LossPoint:
    """The loss on held-out text after some training, in nats per character."""

    cell: Cell
    characters: int
    """Characters read so far."""
    seconds: float
    """Time of the training so far."""
    loss: float


@dataclass(frozen=True)
class Course:
    """A training, as this module sees it."""

    gradients: list[GradientRow]
    """Before the training, then after it."""
    losses: list[LossPoint]
    """Before the training, and at each evaluation."""


def measure(split: Split, architecture: Architecture, recipe: Recipe) -> Course:
    """Trains a network of one layer, and returns its gradients and its losses.

    Raises ``TextTooShortError`` if the held-out text is shorter than one window.
    """
    held_out = held_out_ids(split)
    network = new_network(architecture, recipe)
    cell = architecture.cell
    losses = [LossPoint(cell, 0, 0.0, _loss(network, split))]
    gradients = norms_of(network, "initial", held_out)
    trainer = Trainer(network, split, recipe)
    ledger = Ledger()
    with TerminalReporter(minutes=recipe.minutes) as terminal:
        for progress in trainer.steps(threading.Event()):
            terminal.report(ledger.add(progress, write_sample=str))  # an empty sample: the text doesn't matter here
    losses += [LossPoint(cell, row.characters, row.seconds, row.validation_loss) for row in ledger.rows]
    return Course(gradients + norms_of(network, "trained", held_out), losses)


def new_network(architecture: Architecture, recipe: Recipe) -> Network:
    """Returns a network with the first weights that ``recipe`` draws."""
    torch.manual_seed(recipe.seed)
    return Network(architecture, dropout=recipe.dropout, input_dropout=recipe.input_dropout)


def held_out_ids(split: Split) -> Ids:
    """Returns the held-out text. Raises ``TextTooShortError`` if it is shorter than one window."""
    ids = np.concatenate([document.ids for document in split.validation])
    if len(ids) < (least := WARM_UP + REACH + 2):
        raise TextTooShortError(
            f"the held-out text has {len(ids):,} ids; measuring gradients takes at least {least}: give more text"
        )
    return ids


def _loss(network: Network, split: Split) -> float:
    """Returns the loss that the trainer watches, in nats per character."""
    passages = spread(windows(split.validation), VALIDATION_CHARACTERS)
    return nats(NetworkScorer(network), passages) / sum(passage.characters for passage in passages)


def norms_of(network: Network, weights: Weights, ids: Ids) -> list[GradientRow]:
    """Returns the norms, averaged over windows that are spread evenly over ``ids``."""
    T = WARM_UP + REACH + 1
    starts = np.unique(np.linspace(0, len(ids) - T - 1, WINDOWS).astype(np.int64))
    windows = torch.from_numpy(ids[starts + np.arange(T + 1)[:, None]])  # (T + 1, B)
    of_batches = [gradient_norms(network, some[:-1], some[-1], REACH) for some in torch.split(windows, _BATCH, dim=1)]
    norms = np.concatenate(of_batches, axis=-1).mean(axis=-1)  # (P, K + 1)
    cell = network.architecture.cell
    parts: tuple[Part, ...] = ("hidden", "cell")
    return [
        GradientRow(cell, weights, part, k, float(norm))
        for part, along in zip(parts, norms, strict=False)  # only an LSTM has a cell
        for k, norm in enumerate(along)
    ]


def gradient_norms(network: Network, inputs: Tensor, targets: Tensor, reach: int) -> NDArray[np.float64]:
    """Returns the norms [P, reach + 1, B] of the gradient of the last character's loss at the states before it.

    ``inputs`` are ids (T, B), the first T - reach - 1 of which only warm the state up; ``targets`` (B) are the ids that
    follow the last. Place k of the second axis belongs to the state after character T - 1 - k. The parts of a state are
    hidden and, of an LSTM, cell. Computes in float64. The network must have one layer.
    """
    (layer,) = copy.deepcopy(network).double().layers
    embedding, readout = network.embedding.weight.double(), network.readout
    state = tuple(part[0].double() for part in network.initial_state(inputs.shape[1])[0])  # (B, H) each
    states: list[tuple[Tensor, ...]] = []
    for t, ids in enumerate(inputs):
        is_measured = t >= len(inputs) - reach - 1
        with torch.set_grad_enabled(is_measured):
            state = step(network.architecture.cell, layer, embedding[ids], state).state
        if is_measured:
            states.append(state)
    logits = functional.linear(states[-1][0], readout.weight.double(), readout.bias.double())  # (B, V)
    # A window's loss depends on its own states only, so the gradient of the sum holds every window's gradient.
    loss = functional.cross_entropy(logits, targets, reduction="sum")
    backwards = list(reversed(states))
    gradients = torch.autograd.grad(loss, [part for state in backwards for part in state])
    norms = torch.stack([gradient.norm(dim=-1) for gradient in gradients])  # ((K + 1) · P, B)
    by_part: NDArray[np.float64] = norms.numpy().reshape(reach + 1, len(state), -1).swapaxes(0, 1)
    return by_part


def write_rows(rows: Sequence[object], path: Path) -> None:
    """Writes ``rows``, dataclasses of one kind, as CSV with a column per field. There has to be one."""
    table = io.StringIO(newline="")
    csv.writer(table).writerow(field.name for field in fields_of(rows[0]))  # type: ignore[arg-type]
    csv.writer(table).writerows(map(astuple, rows))  # type: ignore[arg-type]
    write_text(path, table.getvalue(), kind="table")
