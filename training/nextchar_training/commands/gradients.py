"""The verb ``gradients``: how far back the error of each cell's network reaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le
from cyclopts import Parameter
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import printable
from nextchar_model.cell import ROW_BLOCKS, Cell

from ..data.rules import Rules
from ..data.sources import STDLIB
from ..learning.recipe import Sizes
from . import options
from .options import Cache, Flag, GradientBudgetOptions, GradientTrainingOptions, PathArgument, Sources

if TYPE_CHECKING:
    from ..insight.clipping import ClippingRow
    from ..insight.gradients import GradientRow, LossPoint


@Parameter(name="*")
@dataclass(frozen=True)
class Networks:
    """The networks to compare."""

    hidden_size: Annotated[int, Ge(1), Le(2**16)] = 128
    """Units of the layer."""
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """Threads; by default, one per core."""


def gradients(
    corpus: Annotated[Sources | None, Parameter(show_default="stdlib, the source of Python's own library")] = None,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="Folder for the tables and pictures.")],
    overwrite: Annotated[Flag, Parameter(help="Replace these files if the folder holds them.")] = False,
    cell: Annotated[
        list[Cell] | None,
        Parameter(help="Kinds of recurrent layer to compare.", consume_multiple=1, show_default="all"),
    ] = None,
    networks: Networks | None = None,
    budget: GradientBudgetOptions | None = None,
    training: GradientTrainingOptions | None = None,
    rules: Rules | None = None,
    cache: Cache | None = None,
) -> int:
    """Shows how far back the error of each cell's network reaches."""
    options.check_folder(out)
    networks = networks or Networks()
    recipe = options.recipe(budget, training, **options.GRADIENTS)
    chosen = options.rules(rules)
    kinds = tuple(dict.fromkeys(cell or ROW_BLOCKS))
    _check_files(out, _files(kinds), overwrite=overwrite)
    import torch

    from ..data.split import Split
    from ..insight import clipping, reach
    from ..insight import gradients as insight
    from ..learning.allocator import keep_freed_memory
    from ..run.terminal import plain_console
    from .texts import read_dataset

    if networks.threads is not None:
        torch.set_num_threads(networks.threads)
    dataset = read_dataset(corpus or [STDLIB], chosen, cache)
    keep_freed_memory()
    split = Split.of(dataset)
    rows: list[GradientRow] = []
    losses: list[LossPoint] = []
    steps: list[ClippingRow] = []
    for kind in kinds:
        print(f"{kind}: training, then measuring", flush=True)
        architecture = Sizes(cell=kind, hidden_size=networks.hidden_size).architecture(dataset.alphabet.size)
        course = insight.measure(split, architecture, recipe)
        rows += course.gradients
        losses += course.losses
        if kind == "rnn":
            print("rnn: gradients that explode, and clipping", flush=True)
            rows += clipping.exploding_gradients(split, architecture, recipe)
            steps = clipping.train_both_ways(split, architecture, recipe)
    out.mkdir(parents=True, exist_ok=True)
    setting = f"{dataset.corpus.name}\n{networks.hidden_size} units"
    _write(rows, losses, steps, out, setting, budget=recipe.budget)
    plain_console().print(reach.table(rows, losses))
    print(*(printable(str(out / name)) for name in _files(kinds)), sep="\n")
    return 0


def _write(
    rows: Sequence[GradientRow],
    losses: Sequence[LossPoint],
    steps: Sequence[ClippingRow],
    out: Path,
    setting: str,
    *,
    budget: str,
) -> None:
    """Writes the tables and pictures. ``setting`` stands below the titles of the pictures."""
    from ..insight import reach
    from ..insight.gradients import write_rows

    write_rows(rows, out / "gradients.csv")
    write_rows(losses, out / "losses.csv")
    reach.draw(rows, losses, out / "gradients.png", f"{setting}, {budget} of training each")
    if steps:
        write_rows(steps, out / "clipping.csv")
        reach.draw_clipping(rows, steps, out / "clipping.png", f"{setting}, plain gradient descent")


def _files(kinds: Sequence[Cell]) -> tuple[str, ...]:
    """Returns the names of the files that the verb writes: the exploding case is an RNN's."""
    usual = ("gradients.csv", "losses.csv", "gradients.png")
    return (*usual, "clipping.csv", "clipping.png") if "rnn" in kinds else usual


def _check_files(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Raises ``RunFolderError`` if ``out`` holds one of the files, unless it may be replaced."""
    from ..run.folder import RunFolderError

    if not overwrite and (held := [name for name in names if (out / name).exists()]):
        raise RunFolderError(f"{out}: already holds {', '.join(held)}; --overwrite replaces it")
