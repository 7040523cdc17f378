"""The recipe: how to train, and the sizes of what is trained.

Free of torch, so that the command line reads its defaults from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nextchar_model.cell import ROW_BLOCKS, Cell


class TrainingError(ValueError):
    """A training cannot start, or cannot go on."""


@dataclass(frozen=True)
class Recipe:
    """How to train. Exactly one of ``minutes`` and ``epochs`` is the budget."""

    minutes: float | None = None
    epochs: int | None = None
    batch_size: int = 64
    sequence_length: int = 32
    learning_rate: float = 6e-3
    dropout: float = 0.3
    input_dropout: float = 0.1
    weight_decay: float = 0.2
    """Of matrices only, as AdamW does it: a step takes this, times the learning rate, of each weight."""
    seed: int = 1
    averaging_period: int = 1
    """Steps that several processes take each for itself before their weights are averaged; 1: they share every step."""
    patience: int | None = None
    """Evaluations without a better loss that end the training early; None: it uses its whole budget."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            raise TrainingError("the budget is either minutes or epochs")
        for name in (
            *("minutes", "epochs", "batch_size", "sequence_length", "learning_rate"),
            *("averaging_period", "patience"),
        ):
            number = getattr(self, name)
            if number is not None and not (0 < number < math.inf):
                raise TrainingError(f"{name} is {number}; it must be above 0")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise TrainingError(f"weight_decay is {self.weight_decay}; it must be at least 0")
        if not 0 <= self.seed < 2**64:
            raise TrainingError(f"seed is {self.seed}; it must be 0 to 2**64 - 1")

    @property
    def budget(self) -> str:
        """The budget in words."""
        number, unit = (self.minutes, "minute") if self.epochs is None else (self.epochs, "epoch")
        return f"{number:g} {unit}{'' if number == 1 else 's'}"


class ArchitectureError(ValueError):
    """A network cannot have these sizes."""


@dataclass(frozen=True)
class Architecture:
    """What rebuilds a network: its sizes. Kept in the checkpoint and in the model file."""

    alphabet_size: int
    hidden_size: int = 512
    layers: int = 1
    embedding_size: int = 128
    cell: Cell = "lstm"

    def __post_init__(self) -> None:
        for name in ("alphabet_size", "hidden_size", "layers", "embedding_size"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ArchitectureError(f"{name} is {size!r}; it must be a whole number of at least 1")
        if self.cell not in ROW_BLOCKS:
            raise ArchitectureError(f"cell {self.cell!r} is not known; this version knows {', '.join(ROW_BLOCKS)}")
