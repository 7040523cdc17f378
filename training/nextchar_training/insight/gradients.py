"""The gradients: how far back in a text a network's error reaches.

Beside the flow, for people who learn: it trains a small network of each cell in the same way. Before and after, it
measures how large the gradient of the loss at one character is at the states of the characters before it. In an RNN the
gradient shrinks by a factor at every character (Hochreiter 1991; Bengio, Simard & Frasconi 1994), so characters far
back teach nothing. An LSTM's cell is the conveyor belt that carries it past.

Shapes: B windows, T characters, H hidden size, K how many characters back, P parts of a layer's state.
"""

from __future__ import annotations

import copy
import csv
import io
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from nextchar_model.alphabet import Ids
from nextchar_model.cell import Cell

from ..data.batches import TextTooShortError
from ..data.split import Split
from ..files import write_text
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import Trainer
from ..palette import BLUE, GREEN, VERMILION
from ..picture import new_figure, save
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

Weights = Literal["initial", "trained"]
Part = Literal["hidden", "cell"]


@dataclass(frozen=True)
class GradientRow:
    """The norm of ∂loss(t)/∂state(t-k), the mean over many t."""

    cell: Cell
    weights: Weights
    state: Part
    k: int
    norm: float


def measure(split: Split, architecture: Architecture, recipe: Recipe) -> list[GradientRow]:
    """Trains a network and returns its gradients, first before the training and then after it.

    Raises ``TextTooShortError`` if the held-out text is shorter than one window.
    """
    held_out = np.concatenate([document.ids for document in split.validation])
    if len(held_out) < (least := WARM_UP + REACH + 2):
        raise TextTooShortError(
            f"the held-out text has {len(held_out):,} ids; measuring gradients takes at least {least}: give more text"
        )
    torch.manual_seed(recipe.seed)  # of the first weights
    network = Network(architecture, dropout=recipe.dropout, input_dropout=recipe.input_dropout)
    trainer = Trainer(network, split, recipe)
    rows = _rows(network, "initial", held_out)
    ledger = Ledger()
    with TerminalReporter(minutes=recipe.minutes) as terminal:
        for progress in trainer.steps(threading.Event()):
            terminal.report(ledger.add(progress, write_sample=str))  # an empty sample: the text doesn't matter here
    return rows + _rows(network, "trained", held_out)


def _rows(network: Network, weights: Weights, ids: Ids) -> list[GradientRow]:
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


def write(rows: Sequence[GradientRow], path: Path) -> None:
    """Writes ``rows`` as CSV."""
    table = io.StringIO(newline="")
    csv.writer(table).writerow(field.name for field in fields(GradientRow))
    csv.writer(table).writerows(map(astuple, rows))
    write_text(path, table.getvalue(), kind="table")


Curve = tuple[Cell, Weights, Part]


def shares(rows: Sequence[GradientRow]) -> dict[Curve, NDArray[np.float64]]:
    """Returns, by cell, weights and part of the state, the share of the gradient left k characters back, [K + 1]."""
    curves: dict[Curve, list[float]] = {}
    for row in rows:
        curves.setdefault((row.cell, row.weights, row.state), []).append(row.norm)
    return {curve: np.array(norms) / norms[0] for curve, norms in curves.items()}


def table(rows: Sequence[GradientRow]) -> Table:
    """Returns a table of the shares at a few distances, for a terminal."""
    places = [k for k in (1, 3, 10, 30, 100) if k <= REACH]
    table = Table(title="Share of the gradient left, by characters back")
    for heading in ("cell", "weights", "gradient at"):
        table.add_column(heading)
    for k in places:
        table.add_column(str(k), justify="right")
    for (cell, weights, part), left in shares(rows).items():
        table.add_row(cell.upper(), weights, part, *(_percent(left[k]) for k in places))
    return table


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else f"{share:.0e}"


# The LSTM's two have one colour.
_LINES: dict[tuple[Cell, Part], tuple[str, str, str]] = {
    ("gru", "hidden"): (GREEN, "-", "GRU, hidden state"),
    ("lstm", "cell"): (BLUE, "-", "LSTM, cell"),
    ("lstm", "hidden"): (BLUE, ":", "LSTM, hidden state"),
    ("rnn", "hidden"): (VERMILION, "-", "RNN, hidden state"),
}
_PLACE = 40  # characters back at which the legend says how much is left: about a line of text
_LEAST = 1e-10  # smallest share that is drawn
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(rows: Sequence[GradientRow], path: Path, setting: str) -> None:
    """Draws the shares as a PNG: before the training and after it, side by side. ``setting`` is the subtitle."""
    figure = new_figure(12, 5.5)
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panels = figure.subplots(1, 2, sharey=True)
    curves = shares(rows)
    headings: dict[Weights, str] = {"initial": "Before training", "trained": "After training"}
    for axes, (weights, heading) in zip(panels, headings.items(), strict=True):
        for (cell, part), (colour, style, label) in _LINES.items():
            if (left := curves.get((cell, weights, part))) is not None:
                label = f"{label}: {_in_words(left[_PLACE])}"
                axes.semilogy(left, color=colour, linestyle=style, linewidth=2.5, label=label)
        axes.axvline(_PLACE, color="0.5", linewidth=1, linestyle="--")
        axes.set_title(heading, fontsize=13)
        axes.set_xlim(0, REACH)
        axes.set_xlabel("k, characters back from the error", fontsize=11)
        axes.yaxis.set_major_locator(LogLocator(numticks=20))
        axes.yaxis.set_major_formatter(FuncFormatter(_fraction))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        axes.legend(title=f"left {_PLACE} characters back", fontsize=10, framealpha=1)
    panels[0].set_ylim(_LEAST, 2 * max(left.max() for left in curves.values()))
    panels[0].set_ylabel("share of the gradient that is left", fontsize=11)
    figure.suptitle(f"How far back the error at one character reaches\n{setting}", fontsize=14)
    save(figure, path)


def _in_words(share: float) -> str:
    if share == 0:
        return "none"
    if share > 0.5:
        return f"{share:.0%}"
    return f"1 in {float(f'{1 / share:.1g}'):,.0f}" if share > 1e-6 else f"1 in {_power(round(-np.log10(share)))}"


def _fraction(share: float, place: int) -> str:
    power = round(-np.log10(share))
    return f"1/{10**power:,}" if 0 < power <= 3 else "1" if power == 0 else _power(-power)


def _power(exponent: int) -> str:
    """Returns a power of ten in plain characters: pictures hold no formulas."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
