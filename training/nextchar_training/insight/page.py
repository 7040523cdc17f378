"""The page: a text in a browser, each character on the tint of a cell's value, with a chooser of the cell.

One file that needs no other and asks no other machine. It has the values of all cells or, if they are too many, of the
most telling ones.

Shapes: L layers, T characters, H hidden size.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import write_text
from .coloured_text import shown
from .gates import telling_units
from .tints import LETTERS, STEPS, steps, tint

_MOST_VALUES = 4_000_000  # of a page: 5.3 MB


def write_page(
    text: str, cells: NDArray[np.float32], path: Path, *, title: str, layer: int, unit: int, most: int = _MOST_VALUES
) -> None:
    """Writes the page of ``text``, which shows ``unit`` of ``layer`` first.

    ``cells`` are tanh of the cell states after each character, [L, T, H], in (-1, 1). The page holds at most some
    ``most`` values, those of the first unit among them.
    """
    L, T, H = cells.shape
    units = [_units(cells[n], max(1, most // (L * T)), unit if n == layer else None) for n in range(L)]
    values = [
        {"layer": n, "units": some.tolist(), "values": _encoded(cells[n][:, some].T)} for n, some in enumerate(units)
    ]
    held = len(units[layer])
    parts = {
        "title": html.escape(title),
        "tints": _styles(),
        "key": "".join(f'<span class="t{step}">{step / STEPS:g}</span>' for step in (-10, -5, 0, 5, 10)),
        "order": _order(held, H),
        "text": _spans(text, steps(cells[layer, :, unit]).tolist()),
        # No "</script>" inside.
        "data": json.dumps({"steps": STEPS, "first": f"{layer}:{unit}", "layers": values}),
    }
    page = (files(__package__) / "cells.html").read_text(encoding="utf-8")
    head, *rest = page.split("{{")  # at once, so that a text may hold a part's name in braces
    for piece in rest:
        name, _, after = piece.partition("}}")
        head += parts[name] + after
    write_text(path, head, kind="page")


def _units(cells: NDArray[np.float32], most: int, unit: int | None) -> NDArray[np.int64]:
    """Returns the ``most`` most telling units of ``cells`` [T, H], and ``unit`` if it isn't one of them."""
    found = telling_units(cells)[:most]
    if unit is not None and unit not in found:
        found[-1] = unit
    return found


def _order(held: int, H: int) -> str:
    which = f"all {H:,} cells" if held == H else f"{held:,} of {H:,} cells"
    return f"The list has {which} of a layer, first those that keep either sign strongly and for long."


def _encoded(values: NDArray[np.float32]) -> str:
    """Returns ``values`` in hundredths, a signed byte each, in base64."""
    return b64encode(np.rint(100 * values).astype(np.int8).tobytes()).decode()


def _spans(text: str, tints: Sequence[int]) -> str:
    spans = []
    for character, step in zip(text, tints, strict=True):
        letter = html.escape(shown(character)) + ("\n" if character == "\n" else "")
        spans.append(f'<span class="t{step}">{letter}</span>')
    return "".join(spans)


def _styles() -> str:
    """Returns the style sheet of the tints, in both schemes."""
    scale = range(-STEPS, STEPS + 1)
    light, dark = (
        "\n".join(f".t{step} {{ background: {tint(step, scheme)}; color: {LETTERS[scheme]} }}" for step in scale)
        for scheme in ("light", "dark")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
