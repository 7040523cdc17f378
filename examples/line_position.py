"""Finds the unit of the network that follows the place in a line, and draws what it does in another text.

A text that the model writes is scored with the activations of all units, 64 at a time. The unit whose cell goes best
with the number of characters since the last line end is then looked at in a second text, on which it wasn't chosen.
``--picture unit.png`` draws that one, coloured by the cell of the first unit; it needs matplotlib. With
``nextchar-server`` running:

    $ python examples/line_position.py
    unit  in this text  in another
     442         -0.83       -0.86
     339         -0.82       -0.70
     443          0.74        0.79
"""

from __future__ import annotations

import argparse
import math
from statistics import correlation

from nextchar_client import DEFAULT_ENDPOINT, Client, NextcharError

CHARACTERS = 256
TOGETHER = 64  # units of one call, at most
SHOWN = 3


def main() -> None:
    """Reads the arguments, looks for the units and prints the best."""
    parser = argparse.ArgumentParser(description="Finds the unit that follows the place in a line.")
    parser.add_argument("--picture", help="draw a text, coloured by the unit, into this file")
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT, help="HOST:PORT of the server")
    arguments = parser.parse_args()
    try:
        with Client(arguments.endpoint) as client:
            searched, other = (client.generate("\n", seed=seed, max_characters=CHARACTERS).text for seed in (1, 2))
            cells = cells_of(client, searched, range(client.model().hidden_size))
            ranking = sorted(cells, key=lambda unit: -abs(correlation(cells[unit], places(searched))))[:SHOWN]
            cells_of_other = cells_of(client, other, ranking)
    except NextcharError as error:
        parser.exit(1, f"{error}\n")
    print("unit  in this text  in another")
    for unit in ranking:
        here, there = correlation(cells[unit], places(searched)), correlation(cells_of_other[unit], places(other))
        print(f"{unit:4}  {here:12.2f}  {there:10.2f}")
    if arguments.picture:
        draw(other, cells_of_other[ranking[0]], f"Cell of unit {ranking[0]}, tanh(c)", arguments.picture)


def cells_of(client: Client, text: str, units: range | list[int]) -> dict[int, list[float]]:
    """Returns the cell of each of ``units`` in layer 0 after each character of ``text``, as tanh(c)."""
    cells = {}
    for first in range(0, len(units), TOGETHER):
        activations = client.score(text, include_activations=(0, units[first : first + TOGETHER])).activations
        assert activations is not None
        for unit in activations.units:
            cells[unit] = [math.tanh(value) for value in activations.column(unit, "cell")]
    return cells


def places(text: str) -> list[int]:
    """Returns the number of characters since the last line end, after each character of ``text``."""
    return [place + 1 - (text.rfind("\n", 0, place + 1) + 1) for place in range(len(text))]


def draw(text: str, values: list[float], title: str, path: str) -> None:
    """Draws ``text`` on the colours of ``values``, above their curve."""
    from matplotlib.figure import Figure

    lines = text.split("\n")
    figure = Figure(figsize=(9, 0.22 * len(lines) + 2.6), layout="constrained")
    written, curve = figure.subplots(2, 1, height_ratios=[0.22 * len(lines), 2])
    at = 0
    for row, line in enumerate(lines):
        for column, character in enumerate(f"{line}↵" if row + 1 < len(lines) else line):
            shade = written.pcolormesh(
                [column, column + 1], [row, row + 1], [[values[at]]], cmap="RdBu_r", vmin=-1.3, vmax=1.3
            )
            written.text(column + 0.5, row + 0.5, character, family="monospace", size=9, ha="center", va="center")
            at += 1
    written.invert_yaxis()
    written.axis("off")
    bar = figure.colorbar(shade, ax=written, shrink=0.8)
    bar.ax.set_ylim(-1, 1)
    written.set_title(title)
    curve.plot(values, linewidth=1)
    for place, character in enumerate(text):
        if character == "\n":
            curve.axvline(place, color="#bbbbbb", linewidth=0.6)
    curve.set(xlabel="character (grey: line ends)", ylabel="tanh(c)", ylim=(-1.05, 1.05), xlim=(0, len(text)))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
