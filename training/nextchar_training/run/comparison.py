"""Comparison: several runs side by side, as tables and as one picture of their loss curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from os.path import commonpath
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from nextchar_cli.printable import printable

from .checkpoint import Checkpoint, load_checkpoint
from .folder import LossRow, RunFolder, RunFolderError

_UNKNOWN = "?"  # a setting that the release before did not keep


def read_runs(paths: Sequence[Path]) -> dict[str, list[LossRow]]:
    """Returns the losses of the runs at ``paths`` by the shortest names that tell them apart.

    Raises ``RunFolderError`` if a folder holds no run, or one that was not evaluated yet.
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
        runs[printable(str(whole.relative_to(above)))] = rows
    return runs


def read_best(paths: Sequence[Path]) -> list[Checkpoint]:
    """Returns the best checkpoint of each run. Raises as ``load_checkpoint`` does."""
    return [load_checkpoint(RunFolder(path, overwrite=True).best) for path in paths]


def losses_table(runs: Mapping[str, Sequence[LossRow]], best: Sequence[Checkpoint]) -> RenderableType:
    """Returns a table of the runs' sizes, speeds and losses, a row per run. It fits 80 columns."""
    table = _table()
    table.add_column("run", overflow="fold")
    for name in ("weights", "time", "epochs", "char/s", "best", "stateful", "windows"):
        table.add_column(name, justify="right", no_wrap=True)
    for (name, rows), checkpoint in zip(runs.items(), best, strict=True):
        record, last = checkpoint.record, rows[-1]
        table.add_row(
            name,
            f"{sum(weight.numel() for weight in checkpoint.weights.values()) / 1e6:.2f}M",
            f"{last.seconds:,.0f}s",
            f"{last.epoch:.1f}",
            f"{last.characters / last.seconds:,.0f}",
            f"{record.validation_loss:.4f}",
            _loss(record.stateful_loss),
            _loss(record.windows_loss),
        )
    return Group("\n".join(["Losses in nats per character", *_on_development(runs, best)]), table)


def _on_development(runs: Iterable[str], best: Sequence[Checkpoint]) -> list[str]:
    """Returns the line that says which runs' losses are not of the held-out text, if any are."""
    names = [name for name, checkpoint in zip(runs, best, strict=True) if checkpoint.record.rules.development]
    if not names:
        return []
    if len(names) == len(best):
        return ["All of them are of the development part."]
    return [f"Those of {', '.join(names)} are of the development part, and don't compare with the others."]


def settings_table(runs: Mapping[str, Sequence[LossRow]], best: Sequence[Checkpoint]) -> RenderableType | None:
    """Returns a table of the settings that differ between the runs, a row per setting, or None if all are the same."""
    settings = [_settings(checkpoint) for checkpoint in best]
    names = dict.fromkeys(name for one in settings for name in one)
    table = _table()
    table.add_column("setting", no_wrap=True)
    for name in runs:
        table.add_column(name, overflow="fold")
    for name in names:
        if len({one[name] for one in settings if name in one}) > 1:
            table.add_row(name, *(one.get(name, _UNKNOWN) for one in settings))
    return Group("Settings that differ", table) if table.row_count else None


def _settings(checkpoint: Checkpoint) -> dict[str, str]:
    """All that was chosen for a training, by the names of the options."""
    record = checkpoint.record
    chosen: dict[str, Any] = {
        "corpus": record.corpus,
        "text": record.corpus_sha256[:8],
        "seed": record.seed,
        **asdict(record.rules),
        **asdict(checkpoint.architecture),
    }
    if record.recipe is not None:
        # The budget is that of the last training: a run that trained for longer has spent others before.
        chosen |= {"budget": record.recipe.budget, **asdict(record.recipe)}
        del chosen["minutes"], chosen["epochs"]
    chosen["teachers"] = None
    if record.taught is not None:
        digests = " ".join(teacher.sha256[:8] for teacher in record.taught.teachers)
        chosen |= {"teachers": digests, **asdict(record.taught.teaching)}
    return {name.replace("_", "-"): "none" if value is None else str(value) for name, value in chosen.items()}


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _loss(nats: float | None) -> str:
    return "stopped" if nats is None else f"{nats:.4f}"
