"""The map: each model's loss and time per character, to pick a model for a budget.

``make bench-map`` trains the models that aren't there (``trainings``), then runs this part, which measures all models
of the folder ``RUNS`` together, and draws them (``drawing``). Any subset gives a map.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.map.drawing import PICTURE, draw, statement
from benchmarks.map.measuring import measured
from benchmarks.map.names import RUNS
from benchmarks.map.points import POINTS, ROWS, Point, over_seeds, worth_their_time, write_points
from benchmarks.report import table
from benchmarks.training import CORPUS

TITLE = "Map of models"
_CAPTION = "nats per character of each model by µs per character, with one row and with 64"

_HEAD = (
    *("model", "seed", "characters read", "options", "stateful", "windows"),
    *("1 row, µs per character", "64 rows, µs per character", "file, MB"),
)


def measure(folder: Path) -> str:
    """Measures the models and returns the section of the results."""
    points = measured(RUNS, CORPUS)
    write_points(points, POINTS)
    draw(points.points, PICTURE)
    return section(points.points)


def section(points: tuple[Point, ...]) -> str:
    """Returns the section of the results."""
    models = over_seeds(points)
    best = [
        [f"{rows} row{'s' if rows > 1 else ''}", f"{one.microseconds[rows]:.2f}", _model(one), f"{one.stateful:.4f}"]
        for rows in ROWS
        for one in worth_their_time(models, rows)
    ]
    return "\n\n".join(
        [
            f"{statement(models)}.",
            f"![{_CAPTION}]({PICTURE.name})",
            "Losses are those of the int8 files on the last tenth of Tiny Shakespeare, in nats per character. Times "
            "are medians of `Runner.advance` on one thread, the models in turn. They follow from cell and size, so a "
            "taught model has those of the plain one.",
            "Each of these predicts better than all models that take less time:",
            table(["batch", "µs per character", "model", "stateful"], best),
            "All models:",
            table(_HEAD, map(_row, points)),
        ]
    )


def _model(point: Point) -> str:
    return f"{point.cell.upper()} {point.size}{', taught' if point.taught else ''}"


def _row(point: Point) -> list[str]:
    return [
        _model(point),
        str(point.seed),
        "?" if point.characters is None else f"{point.characters / 1e6:.1f} M",
        f"`{point.options}`" if point.options else "",
        f"{point.stateful:.4f}",
        f"{point.windows:.4f}",
        *(f"{point.microseconds[rows]:.2f}" for rows in ROWS),
        f"{point.bytes / 1e6:.2f}",
    ]
