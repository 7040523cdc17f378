"""The verb ``gates``: an LSTM's gates and cells while it reads a text."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from cyclopts import Parameter
from pydantic.dataclasses import dataclass

from .options import PathArgument, Sources, TrainedModel, check_folder


@Parameter(name="*")
@dataclass(frozen=True)
class View:
    """The part of a text and of a network to look at."""

    characters: Annotated[int, Ge(1)] = 2000
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
) -> int:
    """Shows an LSTM's gates and cells while it reads a text."""
    check_folder(out)
    import numpy as np

    from ..data.sources import find_corpus
    from ..insight import gates as insight
    from ..run.checkpoint import find_checkpoint, load_checkpoint

    view = view or View()
    loaded = load_checkpoint(find_checkpoint(checkpoint))
    corpus = find_corpus(text)
    spelling = loaded.alphabet.spell(corpus.head(view.characters))
    trace = insight.trace(loaded.network(), spelling.ids)
    unit = insight.unit_of(trace, view.layer, view.unit)
    values = trace.cells[view.layer, np.cumsum(spelling.lengths) - 1, unit]  # after each character
    title = f"Cell {unit} of layer {view.layer} in {corpus.name}"
    out.mkdir(parents=True, exist_ok=True)
    insight.write_saturation(trace, out / "gates.csv")
    insight.draw_saturation(trace, out / "gates.png", f"Saturation of the gates in {corpus.name}")
    insight.draw_text(spelling.text, values, out / "cell.png", title)
    insight.write_text(spelling.text, values, out / "cell.html", title)
    print(f"share of the text, mean over all units, in {len(spelling.text):,} characters of {corpus.name}")
    for name, shut, open_ in insight.means(trace):
        low, high = insight.ends(name)
        print(f"{name:9}  {low:20} {shut:4.0%}  {high:17} {open_:4.0%}")
    print(f"cell.png and cell.html show the cell of unit {unit} in layer {view.layer}")
    print(*(out / name for name in ("gates.csv", "gates.png", "cell.png", "cell.html")), sep="\n")
    return 0
