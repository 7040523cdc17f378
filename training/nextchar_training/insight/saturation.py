"""The saturation: how often each unit's gates are shut and open, as a table and as a picture.

Shapes: L layers, T characters, H hidden size.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..files import write_text
from ..palette import BLUE, SERIES, VERMILION
from ..picture import new_figure, save
from .gates import GATES, Trace, ends, limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 50
_MARKERS = "os^Dvx+"


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
    write_text(path, table.getvalue(), kind="table")


def draw_saturation(trace: Trace, path: Path, title: str) -> None:
    """Draws the gates as a PNG: above, the values of each with its thresholds; below, a point per unit."""
    shut, open_ = trace.saturation()
    figure = new_figure(14, 7)
    panels = figure.subplots(2, len(GATES), height_ratios=[1, 1.45])
    for gate, name in enumerate(GATES):
        of_values, of_units = panels[:, gate]
        heading = "Candidate" if name == "candidate" else f"{name.capitalize()} gate"
        of_values.set_title(heading, fontsize=13)
        _draw_values(of_values, trace.gates[gate], name, float(shut[gate].mean()), float(open_[gate].mean()))
        _draw_units(of_units, shut[gate], open_[gate], name)
    panels[0, 0].set_ylabel("share of all values")
    figure.suptitle(title, fontsize=14)
    save(figure, path)


def _draw_values(axes: Axes, values: NDArray[np.float32], name: str, shut: float, open_: float) -> None:
    """Draws how often a gate has which value [L, T, H], and the two thresholds."""
    (low, high), least = limits(name), -1.0 if name == "candidate" else 0.0
    counts, edges = np.histogram(values, _BINS, (least, 1.0))
    shares = 100 * counts / counts.sum()
    middles = (edges[1:] + edges[:-1]) / 2
    colours = [BLUE if middle < low else VERMILION if middle > high else "0.7" for middle in middles]
    axes.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=colours)
    top = 1.25 * max(shares.max(), 1.0)
    gap = 0.02 * (1 - least)
    (below, above), ticks = ends(name), (least, low, (least + 1) / 2, high, 1.0)
    for limit in (low, high):
        axes.axvline(limit, color="0.2", linewidth=1, linestyle="--")
    axes.text(low + gap, 0.97 * top, f"← {below} {shut:.0%}", ha="left", va="top", fontsize=11)
    axes.text(high - gap, 0.88 * top, f"{above} {open_:.0%} →", ha="right", va="top", fontsize=11)
    axes.set(xlim=(least, 1.0), ylim=(0, top))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_major_formatter("{x:g}%")
    axes.set_xlabel("value; dashed: the thresholds")


def _draw_units(axes: Axes, shut: NDArray[np.float64], open_: NDArray[np.float64], name: str) -> None:
    """Draws a point per unit [L, H]: how much of the text its gate is at either end."""
    for layer, (x, y) in enumerate(zip(shut, open_, strict=True)):
        colour, marker = SERIES[layer % len(SERIES)], _MARKERS[layer % len(_MARKERS)]
        axes.scatter(
            100 * x, 100 * y, s=12, alpha=0.6, color=colour, marker=marker, label=f"layer {layer}", linewidths=0.8
        )
    axes.plot([0, 100], [100, 0], color="0.6", linewidth=0.8)  # no gate is shut and open at once
    (low, high), (below, above) = limits(name), ends(name)
    axes.set(aspect="equal", xlim=(-3, 103), ylim=(-3, 103))
    axes.set(xlabel=f"{below} (below {low:g}), % of the text", ylabel=f"{above} (above {high:g}), % of the text")
    axes.grid(alpha=0.3)
    if len(shut) > 1:
        axes.legend(loc="upper right")
