"""Comparison: several runs side by side, as a table and as one picture of their loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

from rich.table import Table

from .checkpoint import load_checkpoint
from .folder import LossRow, RunFolder, RunFolderError


def read_runs(paths: Sequence[Path]) -> dict[str, list[LossRow]]:
    """The losses of the runs at ``paths`` by the shortest names that tell them apart.

    Raises ``RunFolderError`` for a folder that holds no run, or none that was evaluated yet.
    """
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise RunFolderError("the same run is named twice")
    above = commonpath([path.parent for path in resolved])
    runs = {}
    for path, whole in zip(paths, resolved, strict=True):
        rows = RunFolder(path, overwrite=True).read_losses()
        if not rows:
            raise RunFolderError(f"{path}: the run was not evaluated yet")
        runs[str(whole.relative_to(above))] = rows
    return runs


def tabulated(paths: Sequence[Path], runs: dict[str, list[LossRow]]) -> Table:
    """The runs in a table, a row each. Raises as ``load_checkpoint`` does."""
    table = Table(title="Losses in nats a character; windows are of 256 characters from state zero", title_style="")
    table.add_column("run", overflow="fold")
    for name in ("network", "weights", "seconds", "char/s", "best", "stateful", "windows"):
        table.add_column(name, justify="right", no_wrap=True)
    for path, (name, rows) in zip(paths, runs.items(), strict=True):
        best = load_checkpoint(RunFolder(path, overwrite=True).best)
        architecture, record, last = best.architecture, best.record, rows[-1]
        table.add_row(
            name,
            f"{architecture.cell} {architecture.layers}x{architecture.hidden_size}",
            f"{sum(weight.numel() for weight in best.weights.values()) / 1e6:.2f} M",
            f"{last.seconds:,.0f}",
            f"{last.characters / last.seconds:,.0f}",
            f"{record.validation_loss:.4f}",
            _loss(record.stateful_loss),
            _loss(record.windows_loss),
        )
    return table


def _loss(nats: float | None) -> str:
    return "stopped" if nats is None else f"{nats:.4f}"
