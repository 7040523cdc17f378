"""The reach: the gradients of all cells side by side, as a table and as pictures for a person.

Draws the findings of ``gradients`` and ``clipping``. A curve is a cell, its weights and a part of its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nextchar_model.cell import Cell

from ..palette import BLUE, GREEN, PURPLE, VERMILION
from ..picture import new_figure, save
from .clipping import CLIP_NORM, SCALE, ClippingRow
from .gradients import REACH, GradientRow, LossPoint, Part, Weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[Cell, Weights, Part]

_COLOURS: dict[Cell, str] = {"rnn": VERMILION, "gru": GREEN, "lstm": BLUE}
_MARKERS: dict[Cell, str] = {"rnn": "o", "gru": "s", "lstm": "^"}
# The LSTM's two have one colour.
_LINES: dict[tuple[Cell, Part], tuple[str, str]] = {
    ("gru", "hidden"): ("-", "GRU, hidden state"),
    ("lstm", "cell"): ("-", "LSTM, cell"),
    ("lstm", "hidden"): (":", "LSTM, hidden state"),
    ("rnn", "hidden"): ("--", "RNN, hidden state"),
}
_PLACES = (1, 3, 10, 30, 100)  # characters back that the table has
_PLACE = 40  # characters back at which the legend says how much is left: about a line of text
_LEAST = 1e-10  # smallest share that is drawn
_LATE = 20  # steps over which the last losses are averaged
_TICKS = (1, 2, 5, 10, 20, 50, 100, 1000)  # of a loss
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def shares(rows: Sequence[GradientRow]) -> dict[Curve, NDArray[np.float64]]:
    """Returns, by curve, the share of the gradient left k characters back, [K + 1]: above 1 if it grew."""
    curves: dict[Curve, list[float]] = {}
    for row in rows:
        curves.setdefault((row.cell, row.weights, row.state), []).append(row.norm)
    return {curve: np.array(norms) / norms[0] for curve, norms in curves.items()}


def table(rows: Sequence[GradientRow], losses: Sequence[LossPoint]) -> Table:
    """Returns a table for a terminal: of each curve the shares at a few distances, and the held-out loss."""
    table = Table(
        title="Share of the gradient left, by characters back", caption="loss: nats per character of held-out text"
    )
    for heading in ("cell", "weights", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in (*map(str, _PLACES), "loss"):
        table.add_column(heading, justify="right")
    told: set[tuple[Cell, Weights]] = set()
    for (cell, weights, part), left in shares(rows).items():
        of_cell = [point.loss for point in losses if point.cell == cell]
        known = {"initial": of_cell[0], "trained": of_cell[-1]} if of_cell and (cell, weights) not in told else {}
        loss = f"{known[weights]:.3f}" if weights in known else ""
        told.add((cell, weights))
        name = f"initial × {SCALE:g}" if weights == "scaled" else weights
        table.add_row(cell.upper(), name, part, *(_percent(left[k]) for k in _PLACES), loss)
    return table


def _percent(share: float) -> str:
    if share >= 10:
        return f"× {share:,.0f}" if share < 1e5 else f"× {share:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else f"{share:.0e}"


def draw(rows: Sequence[GradientRow], losses: Sequence[LossPoint], path: Path, setting: str) -> None:
    """Draws as a PNG, side by side, the losses of the trainings, and the shares before and after them.

    ``setting`` is the subtitle.
    """
    figure = new_figure(16, 6.4)
    of_losses, *panels = figure.subplots(1, 3, width_ratios=[1, 1.1, 1.1])
    _draw_losses(of_losses, losses)
    curves = shares(rows)
    headings: dict[Weights, str] = {"initial": "Gradient before training", "trained": "Gradient after training"}
    top = 2 * max(left.max() for (_, weights, _), left in curves.items() if weights in headings)
    for axes, (weights, heading) in zip(panels, headings.items(), strict=True):
        for (cell, part), (style, label) in _LINES.items():
            if (left := curves.get((cell, weights, part))) is not None:
                label = f"{label}: {in_words(left[_PLACE])}"
                axes.semilogy(left, color=_COLOURS[cell], linestyle=style, linewidth=2.5, label=label)
        axes.axvline(_PLACE, color="0.4", linewidth=1, linestyle="--")
        axes.set_title(heading, fontsize=13)
        _scale(axes, _LEAST, top)
        _put_legend(axes, f"left {_PLACE} characters back")
    figure.suptitle(f"How far back the error at one character reaches\n{setting}", fontsize=14)
    save(figure, path)


def _draw_losses(axes: Axes, losses: Sequence[LossPoint]) -> None:
    """Draws the losses against the characters read, from the first evaluation on: the first loss is near ln V."""
    for cell, colour in _COLOURS.items():
        points = [point for point in losses if point.cell == cell]
        if points:
            axes.plot(
                [point.characters / 1e6 for point in points[1:]],
                [point.loss for point in points[1:]],
                color=colour,
                marker=_MARKERS[cell],
                linewidth=2,
                markersize=5,
                label=f"{cell.upper()}: {points[-1].loss:.3f} after {points[-1].seconds:,.0f} s",
            )
    axes.set_title("Loss on held-out text", fontsize=13)
    axes.set_xlabel("characters read (millions)", fontsize=11)
    axes.set_ylabel("nats per character", fontsize=11)
    axes.grid(alpha=0.3)
    _put_legend(axes, "at the end")


def draw_clipping(rows: Sequence[GradientRow], steps: Sequence[ClippingRow], path: Path, setting: str) -> None:
    """Draws the exploding case as a PNG: the gradients, their norms in both trainings, and the losses.

    ``setting`` is the subtitle.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = new_figure(16, 6.4)
    reach, of_norms, of_losses = figure.subplots(1, 3)
    curves = shares(rows)
    usual, large = (curves["rnn", weights, "hidden"] for weights in ("initial", "scaled"))
    for left, style, name in ((usual, "--", "first weights"), (large, "-", f"recurrent weights × {SCALE:g}")):
        colour = VERMILION if left is usual else PURPLE
        reach.semilogy(left, color=colour, linestyle=style, linewidth=2.5, label=f"{name}: {in_words(left[_PLACE])}")
    reach.axhline(1, color="0.4", linewidth=1)
    reach.axvline(_PLACE, color="0.4", linewidth=1, linestyle="--")
    reach.set_title("Gradient at the states before", fontsize=13)
    _scale(reach, _LEAST, 4 * large.max())
    _put_legend(reach, f"{_PLACE} characters back")
    for clipped, colour in ((False, VERMILION), (True, BLUE)):
        some = [row for row in steps if row.clipped is clipped]
        name = "clipped" if clipped else "not clipped"
        norms, losses = np.array([row.gradient_norm for row in some]), np.array([row.loss for row in some])
        at = np.arange(1, len(some) + 1)
        of_norms.semilogy(at, norms, color=colour, label=f"{name}: {norms.max():,.0f}")
        of_losses.semilogy(at, losses, color=colour, label=f"{name}: {losses[-_LATE:].mean():,.2f}")
    of_norms.axhline(CLIP_NORM, color="0.2", linewidth=1, linestyle="--")
    of_norms.set_title(f"Gradient of a step, before clipping at {CLIP_NORM:g}", fontsize=13)
    of_norms.set_ylabel("norm over all weights", fontsize=11)
    of_losses.set_title("Loss of a batch", fontsize=13)
    of_losses.set_ylabel("nats per id", fontsize=11)
    for axes, title in ((of_norms, "largest"), (of_losses, f"mean of the last {_LATE} steps")):
        axes.set_xlabel("step", fontsize=11)
        axes.grid(alpha=0.3)
        axes.yaxis.set_major_formatter(FuncFormatter(_fraction))
        axes.yaxis.set_minor_formatter(NullFormatter())
        _put_legend(axes, title)
    of_losses.set_yticks(_TICKS, list(map(str, _TICKS)))
    of_losses.set_ylim(min(row.loss for row in steps) / 1.2, max(row.loss for row in steps) * 1.2)
    figure.suptitle(f"Gradients that explode in an RNN, and clipping\n{setting}", fontsize=14)
    save(figure, path)


def _put_legend(axes: Axes, title: str) -> None:
    """Puts the legend below the axes, so that it hides no curve."""
    axes.legend(title=title, fontsize=10, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _scale(axes: Axes, least: float, most: float) -> None:
    """Sets up axes of shares against characters back."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xlim(0, REACH)
    axes.set_ylim(least, most)
    axes.set_xlabel("k, characters back from the error", fontsize=11)
    axes.set_ylabel("share of the gradient", fontsize=11)
    axes.yaxis.set_major_locator(LogLocator(numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(_fraction))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


def in_words(share: float) -> str:
    """Returns a share such as "1 in 300", or "300 times" if it is above 1."""
    if share == 0:
        return "none"
    if share >= 2:
        return f"{float(f'{share:.1g}'):,.0f} times" if share < 1e6 else f"{_power(round(np.log10(share)))} times"
    if share > 0.5:
        return f"{share:.0%}"
    return f"1 in {float(f'{1 / share:.1g}'):,.0f}" if share > 1e-6 else f"1 in {_power(round(-np.log10(share)))}"


def _fraction(share: float, place: int) -> str:
    power = round(-np.log10(share))
    return f"1/{10**power:,}" if 0 < power <= 3 else f"{10**-power:,}" if -3 <= power <= 0 else _power(-power)


def _power(exponent: int) -> str:
    """Returns a power of ten in plain characters: pictures hold no formulas."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"
