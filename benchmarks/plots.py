"""The plots beside the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#6b4e71")


def plot(name: str, caption: str, *panels: Callable[[Axes], None]) -> str:
    """Draws ``panels`` side by side into ``name``.png, and gives the Markdown that shows it."""
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False, layout="constrained"
    )
    for panel, axis in zip(panels, axes[0], strict=True):
        panel(axis)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.set_axisbelow(True)
    path = Path(__file__).with_name(f"{name}.png")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return f"![{caption}]({path.name})"
