"""The verb ``compare``: runs side by side."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.printable import printable

from .options import PathArgument, check_file


def compare(
    runs: Annotated[list[PathArgument], Parameter(help="Folders of runs.")],
    /,
    *,
    out: Annotated[PathArgument | None, Parameter(help="Also draw their loss curves into this file (.png).")] = None,
) -> int:
    """Puts runs side by side."""
    if out is not None:
        check_file(out)
    from ..run.comparison import losses_table, read_best, read_runs, settings_table
    from ..run.curves import draw_losses
    from ..run.terminal import plain_console

    losses = read_runs(runs)
    best = read_best(runs)
    if out is not None:
        draw_losses(losses, out, "Loss curves")
    console = plain_console()
    console.print(losses_table(losses, best))
    if (settings := settings_table(losses, best)) is not None:
        console.print("", settings)
    if out is not None:
        print(printable(str(out)))
    return 0
