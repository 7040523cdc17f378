"""The verb ``gates``: an LSTM's gates and cells while it reads a text."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from cyclopts import Parameter
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import printable

from .options import PathArgument, Sources, TrainedModel, UnknownOption, check_folder


@Parameter(name="*")
@dataclass(frozen=True)
class View:
    """The part of a text and of a network to look at."""

    characters: Annotated[int, Ge(1), Le(20_000)] = 2000
    """Characters of the text to read, from its beginning."""
    layer: Annotated[int, Ge(0)] = 0
    """Layer of the cell that is shown first."""
    unit: Annotated[int, Ge(0)] | None = None
    """Unit of the cell that is shown first; by default, one that keeps both high and low values for long."""


def gates(
    checkpoint: TrainedModel,
    text: Sources,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="Folder for the pictures and tables.")],
    view: View | None = None,
    unknown: UnknownOption = "error",
) -> int:
    """Shows an LSTM's gates and cells while it reads a text."""
    check_folder(out)
    import numpy as np

    from ..insight import gates as insight
    from ..insight.coloured_text import draw_text
    from ..insight.page import write_page
    from ..insight.saturation import draw_saturation, write_saturation
    from ..run.checkpoint import find_checkpoint, load_checkpoint
    from .texts import head_for

    view = view or View()
    loaded = load_checkpoint(find_checkpoint(checkpoint))
    name, spelling = head_for(text, loaded, view.characters, unknown)
    trace = insight.trace(loaded.network(), spelling.ids)
    unit = insight.unit_of(trace, view.layer, view.unit)
    cells = trace.cells[:, np.cumsum(spelling.lengths) - 1]  # after each character
    out.mkdir(parents=True, exist_ok=True)
    write_saturation(trace, out / "gates.csv")
    draw_saturation(trace, out / "gates.png", f"The gates in {name}")
    draw_text(
        spelling.text, cells[view.layer, :, unit], out / "cell.png", f"Cell {unit} of layer {view.layer} in {name}"
    )
    write_page(spelling.text, cells, out / "cells.html", title=f"Cells in {name}", layer=view.layer, unit=unit)
    print(f"share of the text, mean over all units, in {len(spelling.text):,} characters of {name}")
    for gate, shut, open_ in insight.means(trace):
        (low, high), (below, above) = insight.limits(gate), insight.ends(gate)
        print(f"{gate:9}  {f'{below} (below {low:g})':20} {shut:4.0%}  {f'{above} (above {high:g})':17} {open_:4.0%}")
    print(f"cell.png shows the cell of unit {unit} in layer {view.layer}, and cells.html any cell that you choose")
    print(*(printable(str(out / file)) for file in ("gates.csv", "gates.png", "cell.png", "cells.html")), sep="\n")
    return 0
