"""Advice on a run: facts that its losses don't show at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from ..learning.memory import training_bytes
from ..learning.recipe import Architecture, Recipe, Sizes, suggested_hidden_size
from .folder import LossRow

CHECKED_CHARACTERS = 256
"""Shortest text that an export is checked on (``export.exporter.MIN_CHARACTERS``)."""

_MUCH_MEMORY = 1e9  # bytes
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


def about_validation(characters: int, part: str) -> str | None:
    """Returns advice if the ``part`` to evaluate on has too few ``characters`` to check an exported file on."""
    if characters >= CHECKED_CHARACTERS:
        return None
    return (
        f"the {part} has {characters} characters, and export checks a model file on at least "
        f"{CHECKED_CHARACTERS}: train on more text, or name a text with export --text"
    )


def about_memory(architecture: Architecture, recipe: Recipe, *, taught: bool = False) -> str | None:
    """Returns advice if a training takes much memory; ``taught`` says whether it has teachers."""
    needed = training_bytes(architecture, recipe, taught=taught)
    if needed < _MUCH_MEMORY:
        return None
    return (
        f"the training takes about {needed / 1e9:.1f} GB of memory in each process, for an alphabet of "
        f"{architecture.alphabet_size:,} ids, batches of {recipe.batch_size} × {recipe.sequence_length} ids and "
        f"{architecture.layers} × {architecture.hidden_size} units: a smaller --batch-size, --sequence-length or "
        "--hidden-size takes less, and so does a --minimum-count that leaves rare characters out"
    )


def about_best(rows: Sequence[LossRow], patience: int | None) -> str:
    """Names the best epoch of a run, and advises ``--patience`` if the best evaluation was long before the end."""
    best, last = min(rows, key=lambda row: row.validation_loss), rows[-1]
    text = f"best epoch: {best.epoch:.1f} of {last.epoch:.1f}, validation {best.validation_loss:.4f} nats per character"
    if patience is not None or best.step > (1 - _LONG) * last.step:
        return text
    return f"{text}; the loss rose from then on, and --patience 3 would have ended the run early"
