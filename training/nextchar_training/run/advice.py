"""Advice on a run: facts that its losses don't show at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from ..learning.recipe import Sizes, suggested_hidden_size
from .folder import LossRow

_MUCH = 2  # times the suggested size
_LONG = 0.25  # of a run


def about_size(characters: int, hidden_size: int) -> str | None:
    """Returns advice if a network of ``hidden_size`` is far too large for a small corpus, of ``characters``."""
    suggested = suggested_hidden_size(characters)
    if suggested >= Sizes.hidden_size or hidden_size < _MUCH * suggested:
        return None
    return (
        f"{characters:,} characters are few for a hidden size of {hidden_size:,}, which will learn them by heart: "
        f"try --hidden-size {suggested}, or more text"
    )


def about_best(rows: Sequence[LossRow], patience: int | None) -> str:
    """Names the best epoch of a run, and advises ``--patience`` if the best evaluation was long before the end."""
    best, last = min(rows, key=lambda row: row.validation_loss), rows[-1]
    text = f"best epoch: {best.epoch:.1f} of {last.epoch:.1f}, validation {best.validation_loss:.4f} nats per character"
    if patience is not None or best.step > (1 - _LONG) * last.step:
        return text
    return f"{text}; the loss rose from then on, and --patience 3 would have ended the run early"
