"""Drawing: the picture of the map, from its points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.map.labels import Label, write
from benchmarks.map.points import POINTS, ROWS, Point, gains, over_seeds
from benchmarks.plots import keep, style
from nextchar_model.cell import Cell
from nextchar_training.palette import BLUE, GREEN, VERMILION

PICTURE = POINTS.with_suffix(".png")

_COLOURS: dict[Cell, str] = {"lstm": BLUE, "gru": VERMILION, "rnn": GREEN}
_MARKS: dict[Cell, str] = {"lstm": "o", "gru": "D", "rnn": "s"}
_TITLES: dict[int, str] = {1: "one text at a time", 64: "64 texts at a time"}


def draw(points: Iterable[Point], path: Path) -> None:
    """Draws the picture of ``points``, at least one, into a PNG."""
    keep(figure_of(points), path)


def figure_of(points: Iterable[Point]) -> Figure:
    """Returns the picture, a panel for each number of rows."""
    models = over_seeds(points)
    figure, axes = pyplot.subplots(1, len(ROWS), figsize=(9.6, 4.4), sharey=True, layout="constrained")
    figure.suptitle(statement(models), fontweight="bold")
    for rows, axis in zip(ROWS, axes, strict=True):
        _curves(axis, models, rows)
        axis.margins(x=0.14, y=0.16)
        axis.set(xscale="log", xlabel="µs per character on one core", title=_TITLES[rows])
        style(axis)
    axes[0].set_ylabel("nats per character, held out")
    axes[0].yaxis.set_major_formatter("{x:.2f}")
    axes[-1].legend(handles=_legend(models), frameon=False, loc="upper right")
    figure.draw_without_rendering()  # lays the panels out, in which the labels are placed
    for rows, axis in zip(ROWS, axes, strict=True):
        write(axis, _labels(models, rows))
    return figure


def statement(models: Sequence[Point]) -> str:
    """Returns the picture's title, a sentence that the models support."""
    if gained := gains(models):
        low, high = f"{min(gained):.3f}", f"{max(gained):.3f}"
        if min(gained) > 0:
            by = low if low == high else f"{low} to {high}"
            return f"Teachers lower the loss by {by} nats, at no cost per character"
        count = sum(gain > 0 for gain in gained)
        return f"Teachers lower the loss of {count} of {len(gained)} models, at no cost per character"
    first, last = models[0], min(models, key=lambda one: one.stateful)
    if first.hidden_size == last.hidden_size:
        return f"{first.size} predicts the text with {last.stateful:.3f} nats per character"
    times, less = last.microseconds[1] / first.microseconds[1], first.stateful - last.stateful
    return f"{last.size} takes {times:.1f} times as long as {first.size}, for {less:.3f} nats less"


def _series(models: Iterable[Point]) -> dict[tuple[Cell, bool], list[Point]]:
    series: dict[tuple[Cell, bool], list[Point]] = {}
    for point in models:
        series.setdefault((point.cell, point.taught), []).append(point)
    return series


def _curves(axis: Axes, models: Sequence[Point], rows: int) -> None:
    for (cell, taught), points in _series(models).items():
        axis.plot(
            [point.microseconds[rows] for point in points],
            [point.stateful for point in points],
            **_look(cell, taught),  # type: ignore[arg-type]
            linewidth=1,
            linestyle="-" if taught else ":",
        )


def _look(cell: Cell, taught: bool) -> dict[str, object]:
    colour = _COLOURS[cell]
    return {"color": colour, "marker": _MARKS[cell], "markersize": 6, "markerfacecolor": colour if taught else "white"}


def _legend(models: Sequence[Point]) -> list[Line2D]:
    return [
        Line2D([], [], label=f"{cell.upper()}{', taught' if taught else ''}", linestyle="", **_look(cell, taught))  # type: ignore[arg-type]
        for cell, taught in sorted(_series(models), key=lambda one: (list(_MARKS).index(one[0]), one[1]))
    ]


def _labels(models: Sequence[Point], rows: int) -> list[Label]:
    """Returns a label for each cell and size, which may stand at the plain or at the taught one."""
    places: dict[tuple[Cell, str], list[tuple[float, float]]] = {}
    for point in models:
        places.setdefault((point.cell, point.size), []).append((point.microseconds[rows], point.stateful))
    return [Label(size, _COLOURS[cell], points) for (cell, size), points in places.items()]
