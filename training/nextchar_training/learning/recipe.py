"""The recipe: how to train, and the sizes of the network to train.

Every default and range of a training stands here, once: the command line, the checkpoint and the trainer read them from
these dataclasses. Free of torch, so that the command line starts fast. A value out of range is a
``pydantic.ValidationError``, which is a ``ValueError`` and names the field.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, ConfigDict
from pydantic.dataclasses import dataclass

from nextchar_model.cell import Cell

_Count = Annotated[int, Ge(1)]
_Size = Annotated[int, Ge(1), Le(2**16)]
_Positive = Annotated[float, Gt(0), AllowInfNan(False)]
_Share = Annotated[float, Ge(0), Lt(1)]

_SMALL_CORPUS = 50_000  # characters
_STRICT_NAMES = ConfigDict(extra="forbid")


class TrainingError(ValueError):
    """A training cannot start or continue."""


@dataclass(frozen=True, kw_only=True, config=_STRICT_NAMES)
class Recipe:
    """How to train. Exactly one of ``minutes`` and ``epochs`` is the budget."""

    minutes: Annotated[_Positive, Le(366 * 24 * 60)] | None = None
    """Train for this many minutes."""

    epochs: Annotated[int, Ge(1), Le(10**9)] | None = None
    """Train for this many passes over the text."""

    batch_size: _Count = 64
    """Sequences per step."""

    sequence_length: _Count = 32
    """Characters per sequence and step: as far as the gradient reaches back."""

    learning_rate: _Positive = 6e-3
    """Highest learning rate. It warms up over the first 5 % of the budget, then falls to 0 along a cosine."""

    dropout: _Share = 0.3
    """Dropout of a layer's output."""

    input_dropout: _Share = 0.1
    """Dropout of the embedding."""

    weight_decay: Annotated[float, Ge(0), AllowInfNan(False)] = 0.2
    """Weight decay of matrices: each step takes this, times the learning rate, from each weight (AdamW)."""

    seed: Annotated[int, Ge(0), Lt(2**64)] = 1
    """Seed of the first weights, of dropout and of the places in the text where the sequences begin."""

    averaging_period: _Count = 1
    """Steps that each of several processes takes alone before their weights are averaged; 1: they share every step,
    as if there were one process."""

    patience: _Count | None = None
    """End the training after this many evaluations in a row without a better loss; without it, training uses the whole
    budget."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            raise ValueError("the budget is minutes or epochs: give exactly one of them")

    @property
    def budget(self) -> str:
        """The budget in words, such as "10 minutes" or "1 epoch"."""
        number, unit = (self.minutes, "minute") if self.epochs is None else (self.epochs, "epoch")
        return f"{number:g} {unit}{'' if number == 1 else 's'}"


TAUGHT: dict[str, Any] = {"dropout": 0.0, "input_dropout": 0.0, "weight_decay": 0.05}
"""The recipe of a training with teachers, in which it differs from another's: their distributions keep the network from
learning the text by heart, and dropout only hinders its learning (docs/experiments.md)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT_NAMES)
class Teaching:
    """How a network learns from teachers beside the text (see ``learning.distillation``)."""

    teacher_weight: Annotated[float, Gt(0), Le(1)] = 0.8
    """Weight of the teachers in the loss; that of the text is the rest, up to 1."""

    teacher_temperature: Annotated[_Positive, Le(100)] = 1.0
    """Temperature at which the teachers' distributions are learned; above 1, unlikely characters count more."""


@dataclass(frozen=True, kw_only=True, config=_STRICT_NAMES)
class Sizes:
    """The sizes of a network that are chosen freely. The size of its alphabet follows from the corpus."""

    cell: Cell = "lstm"
    """Kind of recurrent layer."""

    hidden_size: _Size = 512
    """Units per layer."""

    layers: Annotated[int, Ge(1), Le(1000)] = 1
    """Recurrent layers."""

    embedding_size: _Size = 128
    """Size of an embedding."""

    def architecture(self, alphabet_size: int) -> Architecture:
        """Returns the architecture of these sizes for an alphabet of ``alphabet_size`` ids."""
        return Architecture(alphabet_size=alphabet_size, **asdict(self))


@dataclass(frozen=True, kw_only=True, config=_STRICT_NAMES)
class Architecture(Sizes):
    """All that rebuilds a network without its weights. The checkpoint and the model file hold it."""

    alphabet_size: _Count
    """Ids in the alphabet, the boundary included."""


def suggested_hidden_size(characters: int) -> int:
    """Returns a hidden size for one LSTM layer that learns a corpus of ``characters``.

    Lowest validation losses on the beginning of Tiny Shakespeare, in nats per character (epochs of the training):

    | characters | 128 | 256 | 512 |
    |---|---|---|---|
    | 10,000 | 2.04 (60) | 1.98 (40) | 2.02 (25) |
    | 30,000 | 1.75 (60) | 1.72 (24) | 1.73 (24) |
    | 100,000 | not measured | 1.48 (20) | 1.46 (12) |

    So 512 units gain nothing on a small corpus, and take two to three times as long per character as 256. Whatever the
    size, a small corpus needs few epochs: in 100 epochs of 30,000 characters 512 units were best after 12 of them, at
    1.77, and ended at 3.18.
    """
    return 256 if characters < _SMALL_CORPUS else Sizes.hidden_size
