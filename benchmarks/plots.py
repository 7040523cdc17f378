"""The plots of the results."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, NullFormatter, ScalarFormatter, StrMethodFormatter

from benchmarks.report import RESULTS


def plot(name: str, caption: str, *panels: Callable[[Axes], None], width: float = 4.6) -> str:
    """Draws ``panels`` side by side, ``width`` inches each, into ``name``.png. Returns the Markdown that shows it."""
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(width * len(panels), 3.2), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels, axes[0], strict=True):
        panel(axis)
        style(axis)
    path = RESULTS.with_name(f"{name}.png")
    keep(figure, path)
    return f"![{caption}]({path.name})"


def style(axis: Axes) -> None:
    """Makes a panel, in which all is drawn, look as in all plots."""
    for dimension in (axis.xaxis, axis.yaxis):
        if dimension.get_scale() == "log":
            dimension.set_major_locator(LogLocator(subs=(1, 2, 5) if _decades(dimension) < 3 else (1,)))
            dimension.set_minor_formatter(NullFormatter())
        if isinstance(dimension.get_major_formatter(), LogFormatter | ScalarFormatter):
            dimension.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)


def keep(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, and closes it."""
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _decades(dimension: Axis) -> float:
    low, high = dimension.get_view_interval()
    return math.log10(high / low)
