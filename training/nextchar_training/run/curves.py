"""Loss curves: how the losses of one run, or of several side by side, fell.

One picture for both: a colour per run, solid for the validation text, dotted for the training text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..palette import SERIES
from ..picture import new_figure, save
from .folder import LossRow


def draw_losses(runs: Mapping[str, Sequence[LossRow]], path: Path, title: str) -> None:
    """Draws the losses of ``runs``, each with at least one row, against characters read and against time, as a PNG."""
    figure = new_figure(11, 5)
    by_characters, by_time = figure.subplots(1, 2, sharey=True)
    for n, (name, rows) in enumerate(runs.items()):
        colour = SERIES[n % len(SERIES)]
        best = min(row.validation_loss for row in rows)
        millions, minutes = [row.characters / 1e6 for row in rows], [row.seconds / 60 for row in rows]
        for axes, x in ((by_characters, millions), (by_time, minutes)):
            axes.plot(
                x,
                [row.validation_loss for row in rows],
                color=colour,
                marker=".",
                label=f"validation of {name}, best {best:.4f}",  # Matplotlib hides labels that start with _
            )
            axes.plot(
                x,
                [row.training_loss for row in rows],
                color=colour,
                linestyle=":",
                label=f"training of {name}, with dropout",
            )
    by_characters.set_xlabel("characters read (millions)")
    by_characters.set_ylabel("loss (nats per character)")
    by_time.set_xlabel("minutes")
    for axes in (by_characters, by_time):
        axes.grid(alpha=0.3)
    by_time.legend()
    # The first losses, near ln V, would press all that matters into the bottom of the picture.
    late = [loss for rows in runs.values() for row in rows[len(rows) // 8 :] for loss in _losses(row)]
    lowest = min(loss for rows in runs.values() for row in rows for loss in _losses(row))
    by_characters.set_ylim(lowest - 0.05 * (max(late) - lowest) - 1e-3, max(late) + 0.02)
    figure.suptitle(title)
    save(figure, path)


def _losses(row: LossRow) -> tuple[float, float]:
    return row.training_loss, row.validation_loss
