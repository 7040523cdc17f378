"""The progress of a training: the news after a step, and the position from which it can continue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .network import NetworkState


@dataclass(frozen=True)
class Progress:
    """Where a training stands, all its workers together. Losses are in nats per character."""

    step: int
    epoch: float
    fraction: float
    """The part of the budget that is spent, 0 to 1."""
    seconds: float
    """Time of the training so far, without interruptions."""
    characters: int
    """Characters read so far."""
    learning_rate: float
    training_loss: float
    """The mean loss of the text in the steps since the last ``Progress``, with dropout and without teachers."""
    validation_loss: float | None
    """The loss of about ``VALIDATION_CHARACTERS`` of ``trainer``, in windows of 256 and the precision of the training;
    None unless this step was evaluated."""
    scheduled: bool
    """Whether the evaluation is one that every training with this budget has. The extra one at a stop isn't."""
    keep: bool
    """Whether it is time to save the position: at every evaluation, and once a minute."""
    busy: float
    """CPU seconds of rank 0 per second and thread, over the last five seconds: far below 1 if other programs hold the
    cores (see ``hardware``). 1 on a GPU, where the processor only waits."""


@dataclass(frozen=True)
class Position:
    """All that a training needs, beside its network's weights, to continue as if it had never stopped."""

    step: int
    seconds: float
    fraction: float
    evaluations: int
    best_loss: float
    """Lowest validation loss of the scheduled evaluations so far."""
    stale: int
    """Scheduled evaluations since that one."""
    optimizer: dict[str, Any]
    state: NetworkState
    """Recurrent state of the streams."""
    random: Tensor
    """State of torch's random generators, from which dropout is drawn, uint8 [workers, bytes]."""
