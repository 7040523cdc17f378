"""The gates: the inside of a trained LSTM while it reads a text.

Two pictures after Karpathy, Johnson & Li ("Visualizing and Understanding Recurrent Networks", 2015). How often each
unit's gates are saturated: a forget gate that stays open carries its cell along unchanged, one that stays shut makes
its unit forget at every character. And the text itself, each character coloured by the state of one cell after reading
it: some cells keep track of something that a person can name.

Shapes: L layers, T characters, H hidden size.
"""

from __future__ import annotations

import csv
import html
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from ..files import write_text as write_file
from ..learning.network import Network
from ..picture import new_figure, save
from .unrolled import Step, step

GATES = ("input", "forget", "candidate", "output")
"""In the order in which PyTorch stacks them in one matrix."""

SATURATED = 0.1
"""A gate is saturated within this part of its range from either end."""

_LINES = 1000  # of a picture of a text
_COLUMNS = 100  # characters of a line of coloured text
_COLOURS = "RdBu_r"
_WIDEST = 4 / 3  # the colours' range is wider than the values, so that black letters stay legible on every one


class GatesError(ValueError):
    """The network has no gates, or lacks the layer or unit that was asked for."""


@dataclass(frozen=True)
class Trace:
    """The inside of an LSTM at each character of a text that it read from the start of a document."""

    gates: NDArray[np.float32]
    """[4, L, T, H], in the order of ``GATES``; candidates in (-1, 1), the others in (0, 1)."""
    cells: NDArray[np.float32]
    """[L, T, H]: tanh of the cell state after each character, in (-1, 1)."""
    hidden: NDArray[np.float32]
    """[L, T, H]: the hidden state after each character, in (-1, 1)."""

    def saturation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the fractions of the text in which each gate is shut and open, [4, L, H] each.

        A candidate counts as shut near -1 and as open near 1.
        """
        low = np.array([-1.0 if name == "candidate" else 0.0 for name in GATES])[:, None, None, None]
        place = (self.gates - low) / (1 - low)  # in the gate's range, from 0 to 1
        return (place < SATURATED).mean(axis=2), (place > 1 - SATURATED).mean(axis=2)


@torch.no_grad()
def trace(network: Network, ids: Ids) -> Trace:
    """Feeds the boundary and then ``ids`` [T] to ``network``. Raises ``GatesError`` if its cell isn't an LSTM."""
    if network.architecture.cell != "lstm":
        raise GatesError(f"the network has {network.architecture.cell} cells; only an lstm has a cell state to show")
    inputs = network.embedding(torch.from_numpy(np.concatenate([[BOUNDARY], ids])))  # (T + 1, E)
    gates, cells, hiddens = [], [], []
    for layer, before in zip(network.layers, network.initial_state(1), strict=True):
        state = tuple(part[0, 0] for part in before)  # (H,) each
        steps: list[Step] = []
        for x in inputs:
            steps.append(step("lstm", layer, x, state))
            state = steps[-1].state
        inputs = torch.stack([one.state[0] for one in steps])  # (T + 1, H)
        gates.append(torch.stack([torch.stack(one.gates) for one in steps[1:]], dim=1))  # (4, T, H)
        cells.append(torch.stack([one.state[1].tanh() for one in steps[1:]]))  # (T, H)
        hiddens.append(inputs[1:])
    return Trace(torch.stack(gates, 1).numpy(), torch.stack(cells).numpy(), torch.stack(hiddens).numpy())


def telling_unit(cells: NDArray[np.float32]) -> int:
    """Returns the unit of ``cells`` [T, H] most worth a look: it takes both signs strongly, and keeps them for long.

    This unit has the highest product of its standard deviation and its mean autocorrelation at lags of 1 to 10
    characters.
    """
    spread = cells.std(axis=0)
    apart = cells - cells.mean(axis=0)
    correlations = [(apart[lag:] * apart[:-lag]).mean(axis=0) for lag in range(1, min(10, len(cells) - 1) + 1)]
    return int(np.argmax(np.sum(correlations, axis=0) / np.maximum(spread, 1e-6)))


def ends(gate: str) -> tuple[str, str]:
    """Returns how to call the two ends of a gate's range, each with the limit beyond which it counts as saturated."""
    if gate == "candidate":  # its range is twice as wide
        return f"near -1 (below {2 * SATURATED - 1:g})", f"near 1 (above {1 - 2 * SATURATED:g})"
    return f"shut (below {SATURATED:g})", f"open (above {1 - SATURATED:g})"


def write_saturation(trace: Trace, path: Path) -> None:
    """Writes a CSV with a row per gate and unit: the fractions of the text in which it is shut and open."""
    shut, open_ = trace.saturation()
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["layer", "gate", "unit", "shut", "open"])
    for layer in range(shut.shape[1]):
        for gate, name in enumerate(GATES):
            for unit in range(shut.shape[2]):
                rows.writerow([layer, name, unit, f"{shut[gate, layer, unit]:.4f}", f"{open_[gate, layer, unit]:.4f}"])
    write_file(path, table.getvalue(), kind="table")


def draw_saturation(trace: Trace, path: Path, title: str) -> None:
    """Draws how often each unit's gates are shut and open, a point per unit, as a PNG."""
    shut, open_ = trace.saturation()
    figure = new_figure(12, 3.6)
    for gate, (name, axes) in enumerate(zip(GATES, figure.subplots(1, len(GATES), sharey=True), strict=True)):
        for layer in range(shut.shape[1]):
            axes.scatter(shut[gate, layer], open_[gate, layer], s=8, alpha=0.5, label=f"layer {layer}", linewidths=0)
        axes.plot([0, 1], [1, 0], color="#999999", linewidth=0.8)  # no gate is shut and open at once
        low, high = ends(name)
        axes.set(title="Candidate" if name == "candidate" else f"{name.capitalize()} gate", aspect="equal")
        axes.set(xlim=(-0.03, 1.03), xlabel=f"{low}, fraction of the text")
        axes.set(ylim=(-0.03, 1.03), ylabel=f"{high}, fraction of the text")
        axes.grid(alpha=0.3)
    if shut.shape[1] > 1:
        axes.legend()
    figure.suptitle(title)
    save(figure, path)


def draw_text(text: str, values: NDArray[np.float32], path: Path, title: str) -> None:
    """Draws ``text`` as a PNG, each character on the colour of its value [T] in (-1, 1).

    A picture is no higher than ``_LINES`` lines.
    """
    lines = _lines(text)
    if len(lines) > _LINES:
        lines, title = lines[:_LINES], f"{title}, its first {_LINES:,} lines"
    columns = max(map(len, lines))
    figure = new_figure(0.115 * columns + 0.6, 0.21 * len(lines) + 1.1)
    axes = figure.add_subplot()
    grid = np.full((len(lines), columns), np.nan)
    for row, places in enumerate(lines):
        for column, place in enumerate(places):
            grid[row, column] = values[place]
            letter = _shown(text[place])
            axes.text(column + 0.5, row + 0.5, letter, ha="center", va="center", family="monospace", size=8)
    mesh = axes.pcolormesh(grid, cmap=_COLOURS, vmin=-_WIDEST, vmax=_WIDEST)
    axes.invert_yaxis()
    axes.axis("off")
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", shrink=0.5, aspect=30, pad=0.01, label="tanh(c)")
    bar.ax.set_xlim(-1, 1)
    bar.set_ticks([-1, 0, 1])
    axes.set_title(title)
    save(figure, path)


def write_text(text: str, values: NDArray[np.float32], path: Path, title: str) -> None:
    """Writes ``text`` as an HTML page, each character on the colour of its value [T] in (-1, 1).

    The pointer over a character shows its value as a number.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    def colour(value: float) -> str:
        return to_hex(colormaps[_COLOURS]((value / _WIDEST + 1) / 2))

    spans = []
    for character, value in zip(text, values.tolist(), strict=True):
        shown = html.escape(_shown(character)) + ("\n" if character == "\n" else "")
        spans.append(f'<span style="background:{colour(value)}" title="{value:.2f}">{shown}</span>')
    key = "".join(
        f'<span style="background:{colour(value)}"> {value:+.1f} </span>' for value in (-1.0, -0.5, 0.0, 0.5, 1.0)
    )
    write_file(
        path,
        f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font-family: sans-serif; background: #fff; color: #000 }}
pre {{ font-size: 1rem; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
<h1>{html.escape(title)}</h1>
<p>The colour behind each character is the cell's value after reading it, tanh(c): {key}</p>
<pre>{"".join(spans)}</pre>
</html>
""",
        kind="page",
    )


def _lines(text: str) -> list[list[int]]:
    """Returns the places of the characters of each line; lines end after ``_COLUMNS`` at the latest."""
    lines: list[list[int]] = [[]]
    for place, character in enumerate(text):
        if len(lines[-1]) == _COLUMNS:
            lines.append([])
        lines[-1].append(place)
        if character == "\n":
            lines.append([])
    return lines if lines[-1] else lines[:-1]


def _shown(character: str) -> str:
    """Returns a visible character in place of a line end, a tab or another control character."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs"):  # neither a font nor a page shows them
        return {"\n": "↵", "\t": "→"}.get(character, "\ufffd")
    return character


def unit_of(trace: Trace, layer: int, unit: int | None) -> int:
    """Returns ``unit``, or the most telling one of ``layer`` if it is None.

    Raises ``GatesError`` if the network lacks the layer or the unit.
    """
    layers, _, units = trace.cells.shape
    if not 0 <= layer < layers:
        held = "only layer 0" if layers == 1 else f"layers 0 to {layers - 1}"
        raise GatesError(f"there is no layer {layer}: the network has {held}")
    if unit is None:
        return telling_unit(trace.cells[layer])
    if not 0 <= unit < units:
        raise GatesError(f"there is no unit {unit}: each layer has units 0 to {units - 1}")
    return unit


def means(trace: Trace) -> Sequence[tuple[str, float, float]]:
    """Returns each gate's name and the fractions of the text in which it is shut and open, the mean over all units."""
    shut, open_ = trace.saturation()
    return [(name, float(shut[gate].mean()), float(open_[gate].mean())) for gate, name in enumerate(GATES)]
