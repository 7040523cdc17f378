"""The verb ``gradients``: how far back the error of each cell's network reaches."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from cyclopts import Parameter
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import printable
from nextchar_model.cell import ROW_BLOCKS, Cell

from ..data.rules import Rules
from ..learning.recipe import Sizes
from . import options
from .options import Cache, Flag, GradientBudgetOptions, GradientTrainingOptions, PathArgument, Sources


@Parameter(name="*")
@dataclass(frozen=True)
class Networks:
    """The networks to compare."""

    hidden_size: Annotated[int, Ge(1), Le(2**16)] = 128
    """Units of the layer."""
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """Threads; by default, one per core."""


def gradients(
    corpus: Sources,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="Folder for gradients.csv and gradients.png.")],
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
    import torch

    from ..data.split import Split
    from ..insight import gradients as insight
    from ..learning.allocator import keep_freed_memory
    from ..run.folder import RunFolderError
    from ..run.terminal import plain_console
    from .texts import read_dataset

    table, picture = out / "gradients.csv", out / "gradients.png"
    if not overwrite and (held := [file.name for file in (table, picture) if file.exists()]):
        raise RunFolderError(f"{out}: already holds {', '.join(held)}; --overwrite replaces it")
    if networks.threads is not None:
        torch.set_num_threads(networks.threads)
    dataset = read_dataset(corpus, chosen, cache)
    keep_freed_memory()
    split, rows = Split.of(dataset), []
    for kind in dict.fromkeys(cell or ROW_BLOCKS):
        print(f"{kind}: training, then measuring", flush=True)
        sizes = Sizes(cell=kind, hidden_size=networks.hidden_size)
        rows += insight.measure(split, sizes.architecture(dataset.alphabet.size), recipe)
    out.mkdir(parents=True, exist_ok=True)
    insight.write(rows, table)
    insight.draw(
        rows, picture, f"{dataset.corpus.name}, {networks.hidden_size} units, {recipe.budget} of training each"
    )
    plain_console().print(insight.table(rows))
    print(*(printable(str(path)) for path in (table, picture)), sep="\n")
    return 0
