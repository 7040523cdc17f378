"""The coloured text: a picture of a text, each character on the tint of one cell's value after reading it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..picture import new_figure, save
from .tints import STEPS, steps, tint

_LINES = 1000  # of a picture
_COLUMNS = 100  # characters of a line
_LEAST_COLUMNS = 60  # that the title and the bar need


def shown(character: str) -> str:
    """Returns a visible character in place of a line end, a tab or another control character."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs"):  # neither a font nor a page shows them
        return {"\n": "↵", "\t": "→"}.get(character, "\ufffd")
    return character


def draw_text(text: str, values: NDArray[np.float32], path: Path, title: str) -> None:
    """Draws ``text`` as a PNG, each character on the colour of its value [T] in (-1, 1).

    A picture is no higher than ``_LINES`` lines.
    """
    from matplotlib.colors import ListedColormap

    lines = _lines(text)
    if len(lines) > _LINES:
        lines, title = lines[:_LINES], f"{title}, its first {_LINES:,} lines"
    columns = max(_LEAST_COLUMNS, *map(len, lines))
    figure = new_figure(0.115 * columns + 0.6, 0.21 * len(lines) + 1.3)
    axes = figure.add_subplot()
    grid = np.full((len(lines), columns), np.nan)
    for row, places in enumerate(lines):
        for column, place in enumerate(places):
            grid[row, column] = steps(values[place]) / STEPS
            letter = shown(text[place])
            axes.text(column + 0.5, row + 0.5, letter, ha="center", va="center", family="monospace", size=8)
    colours = ListedColormap([tint(step, "light") for step in range(-STEPS, STEPS + 1)])
    half = 0.5 / STEPS
    mesh = axes.pcolormesh(grid, cmap=colours, vmin=-1 - half, vmax=1 + half)
    axes.invert_yaxis()
    axes.axis("off")
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", shrink=0.5, aspect=30, pad=0.01, label="tanh(c)")
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    axes.set_title(title)
    save(figure, path)


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
