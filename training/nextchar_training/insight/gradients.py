"""The gradients: how far back in a text a network's error reaches.

Beside the flow, for people who learn: it trains a small network of each cell in the same way and measures, before and
after, how large the gradient of the loss at one character is at the states of the characters before it. In an RNN it
shrinks by a factor at every character (Hochreiter 1991; Bengio, Simard & Frasconi 1994), so what is far back teaches
nothing. An LSTM's cell is the conveyor belt that carries it past.

Shapes: B windows, T characters, H hidden size, K how many characters back, P parts of a layer's state.
"""

from __future__ import annotations

import copy
import csv
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from nextchar_model.alphabet import Ids
from nextchar_model.cell import Cell

from ..data.batches import TextTooShortError
from ..data.split import Split
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import Trainer
from ..run.terminal import Display

REACH = 100
"""K: the furthest character back that is measured."""

WARM_UP = 100
"""Characters that a window reads before, so that its states are those of the middle of a text."""

WINDOWS = 512
"""Windows of held-out text, at most, that a figure is the mean of."""

_BATCH = 64  # windows at a time, so that memory stays bounded

Weights = Literal["initial", "trained"]
Part = Literal["hidden", "cell"]


@dataclass(frozen=True)
class GradientRow:
    """One figure: the norm of ∂loss(t)/∂state(t-k), the mean over many t."""

    cell: Cell
    weights: Weights
    state: Part
    k: int
    norm: float


def measure(lesson: Split, architecture: Architecture, settings: Recipe) -> list[GradientRow]:
    """The gradients of a network with its first weights, then of the same one trained.

    Raises ``TextTooShortError`` for a held-out text of less than one window.
    """
    held_out = np.concatenate([document.ids for document in lesson.validation])
    if len(held_out) < (least := WARM_UP + REACH + 2):
        raise TextTooShortError(f"what is held out has {len(held_out):,} ids; to measure gradients takes {least}")
    torch.manual_seed(settings.seed)  # of the first weights
    network = Network(architecture, dropout=settings.dropout, input_dropout=settings.input_dropout)
    trainer = Trainer(network, lesson, settings)
    rows = _rows(network, "initial", held_out)
    with Display() as display:
        for progress in trainer.steps(threading.Event()):
            display.show(progress)
    return rows + _rows(network, "trained", held_out)


def _rows(network: Network, weights: Weights, ids: Ids) -> list[GradientRow]:
    """The mean norms over windows that are spread evenly over ``ids``."""
    T = WARM_UP + REACH + 1
    starts = np.unique(np.linspace(0, len(ids) - T - 1, WINDOWS).astype(np.int64))
    windows = torch.from_numpy(ids[starts + np.arange(T + 1)[:, None]])  # (T + 1, B)
    parts_of_all = [gradient_norms(network, some[:-1], some[-1], REACH) for some in torch.split(windows, _BATCH, dim=1)]
    norms = np.concatenate(parts_of_all, axis=-1).mean(axis=-1)  # (P, K + 1)
    cell = network.architecture.cell
    parts: tuple[Part, ...] = ("hidden", "cell")
    return [
        GradientRow(cell, weights, part, k, float(norm))
        for part, along in zip(parts, norms, strict=False)  # no cell but an LSTM's
        for k, norm in enumerate(along)
    ]


def gradient_norms(network: Network, inputs: Tensor, targets: Tensor, reach: int) -> NDArray[np.float64]:
    """Norms [P, reach + 1, B] of the gradient of the loss at the last character at the states before it.

    ``inputs`` are ids (T, B), of which the first T - reach - 1 are only read; ``targets`` (B) the ids that follow the
    last. Place k of the second axis is of the state after character T - 1 - k; the parts of the state are hidden and,
    of an LSTM, cell. Computed in float64. The network has one layer.
    """
    (layer,) = copy.deepcopy(network).double().layers
    embedding, readout = network.embedding.weight.double(), network.readout
    state = tuple(part[0].double() for part in network.initial_state(inputs.shape[1])[0])  # (B, H) each
    states: list[tuple[Tensor, ...]] = []
    for t, ids in enumerate(inputs):
        read_only = t < len(inputs) - reach - 1
        with torch.set_grad_enabled(not read_only):
            state = _step(network.architecture.cell, layer, embedding[ids], state)
        if not read_only:
            states.append(state)
    logits = functional.linear(states[-1][0], readout.weight.double(), readout.bias.double())  # (B, V)
    # A window's loss depends on no other window's states: the gradient of the sum holds those of all.
    loss = functional.cross_entropy(logits, targets, reduction="sum")
    backwards = list(reversed(states))
    gradients = torch.autograd.grad(loss, [part for state in backwards for part in state])
    norms = torch.stack([gradient.norm(dim=-1) for gradient in gradients])  # ((K + 1) · P, B)
    by_part: NDArray[np.float64] = norms.numpy().reshape(reach + 1, len(state), -1).swapaxes(0, 1)
    return by_part


def _step(cell: Cell, layer: nn.Module, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state after one character, by the equations of ``cell``.

    PyTorch's fused layers give the same numbers, but hide that h comes from c: the gradient at c would lack what goes
    through h.
    """
    h = state[0]
    of_x = functional.linear(x, layer.get_parameter("weight_ih_l0"), layer.get_parameter("bias_ih_l0"))
    of_h = functional.linear(h, layer.get_parameter("weight_hh_l0"), layer.get_parameter("bias_hh_l0"))
    if cell == "rnn":
        return (torch.tanh(of_x + of_h),)
    if cell == "gru":
        (rx, zx, nx), (rh, zh, nh) = of_x.chunk(3, dim=-1), of_h.chunk(3, dim=-1)
        z, n = torch.sigmoid(zx + zh), torch.tanh(nx + torch.sigmoid(rx + rh) * nh)
        return (n + z * (h - n),)
    i, f, g, o = (of_x + of_h).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def write(rows: Sequence[GradientRow], path: Path) -> None:
    """Writes ``rows`` as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(field.name for field in fields(GradientRow))
        csv.writer(file).writerows(map(astuple, rows))


Curve = tuple[Cell, Weights, Part]


def shares(rows: Sequence[GradientRow]) -> dict[Curve, NDArray[np.float64]]:
    """By cell, weights and part of the state: the share of the gradient that is left k characters back, [K + 1]."""
    curves: dict[Curve, list[float]] = {}
    for row in rows:
        curves.setdefault((row.cell, row.weights, row.state), []).append(row.norm)
    return {curve: np.array(norms) / norms[0] for curve, norms in curves.items()}


def table(rows: Sequence[GradientRow]) -> Table:
    """The shares at a few places, for a terminal."""
    places = [k for k in (1, 3, 10, 30, 100) if k <= REACH]
    table = Table(title="What is left of the gradient, so many characters back")
    for heading in ("cell", "weights", "gradient at"):
        table.add_column(heading)
    for k in places:
        table.add_column(str(k), justify="right")
    for (cell, weights, part), left in shares(rows).items():
        table.add_row(cell.upper(), weights, part, *(_percent(left[k]) for k in places))
    return table


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else f"{share:.0e}"


# Colours that differ for colour-blind eyes too (Okabe & Ito 2008); the LSTM's two are of one hue.
_LINES: dict[tuple[Cell, Part], tuple[str, str, str]] = {
    ("gru", "hidden"): ("#009E73", "-", "GRU, hidden state"),
    ("lstm", "cell"): ("#0072B2", "-", "LSTM, cell"),
    ("lstm", "hidden"): ("#0072B2", ":", "LSTM, hidden state"),
    ("rnn", "hidden"): ("#D55E00", "-", "RNN, hidden state"),
}
_PLACE = 40  # characters back, where the legend tells how much is left: about a line of text
_LEAST = 1e-10  # share that is drawn


def draw(rows: Sequence[GradientRow], path: Path, setting: str) -> None:
    """Draws the shares as a PNG: before the training and after it, side by side. ``setting`` is the second title."""
    figure = Figure(figsize=(12, 5.5), layout="constrained")
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
        axes.grid(alpha=0.3)
        axes.legend(title=f"left {_PLACE} characters back", fontsize=10, framealpha=1)
    panels[0].set_ylim(_LEAST, 2 * max(left.max() for left in curves.values()))
    panels[0].set_ylabel("share of the gradient that is left", fontsize=11)
    figure.suptitle(f"How far back the error at one character reaches\n{setting}", fontsize=14)
    figure.savefig(path, dpi=120)


def _in_words(share: float) -> str:
    if share == 0:
        return "none"
    if share > 0.5:
        return f"{share:.0%}"
    return f"1 in {float(f'{1 / share:.1g}'):,.0f}" if share > 1e-6 else f"1 in $10^{{{-np.log10(share):.0f}}}$"


def _fraction(share: float, place: int) -> str:
    power = round(-np.log10(share))
    return f"1/{10**power:,}" if 0 < power <= 3 else "1" if power == 0 else f"$10^{{{-power}}}$"
