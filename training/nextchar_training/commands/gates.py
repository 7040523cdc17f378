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
    """Layer of the cell that colours the text."""
    unit: Annotated[int, Ge(0)] | None = None
    """Unit of that cell; by default, one that keeps both high and low values for long."""


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
    from ..run.checkpoint import find_checkpoint, load_checkpoint
    from .texts import head_for

    view = view or View()
    loaded = load_checkpoint(find_checkpoint(checkpoint))
    name, spelling = head_for(text, loaded, view.characters, unknown)
    trace = insight.trace(loaded.network(), spelling.ids)
    unit = insight.unit_of(trace, view.layer, view.unit)
    values = trace.cells[view.layer, np.cumsum(spelling.lengths) - 1, unit]  # after each character
    title = f"Cell {unit} of layer {view.layer} in {name}"
    out.mkdir(parents=True, exist_ok=True)
    insight.write_saturation(trace, out / "gates.csv")
    insight.draw_saturation(trace, out / "gates.png", f"Saturation of the gates in {name}")
    insight.draw_text(spelling.text, values, out / "cell.png", title)
    insight.write_text(spelling.text, values, out / "cell.html", title)
    print(f"share of the text, mean over all units, in {len(spelling.text):,} characters of {name}")
    for gate, shut, open_ in insight.means(trace):
        low, high = insight.ends(gate)
        print(f"{gate:9}  {low:20} {shut:4.0%}  {high:17} {open_:4.0%}")
    print(f"cell.png and cell.html show the cell of unit {unit} in layer {view.layer}")
    print(*(printable(str(out / file)) for file in ("gates.csv", "gates.png", "cell.png", "cell.html")), sep="\n")
    return 0
