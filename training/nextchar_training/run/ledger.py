"""The ledger: the losses of a run so far, from which every reporter hears the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from ..learning.progress import Progress
from .folder import LossRow


@dataclass(frozen=True)
class Update:
    """The news after a step: its progress, and if it was evaluated, the row of losses."""

    progress: Progress
    step: int
    epoch: float
    """Steps and epochs so far, also those of the finished run that this one continues."""
    row: LossRow | None
    is_best: bool
    """Whether these weights are the best so far."""
    best_loss: float
    """The lowest validation loss so far, infinite before the first evaluation."""
    write_sample: Callable[[], str] | None

    @cached_property
    def sample(self) -> str | None:
        """A text that the network writes now, if there is to be any. It is written once for all reporters that ask."""
        return None if self.write_sample is None else self.write_sample()


class Reporter(Protocol):
    """Tells somebody how a training is doing: a person, TensorBoard, or the run folder."""

    def report(self, update: Update) -> None:
        """Tells the news after a step."""
        ...


class Ledger:
    """The losses of a run: those of its scheduled evaluations, and of the training steps since the last of them.

    If the run continues an ``earlier`` one, its steps, epochs, seconds and characters are counted from there.
    """

    def __init__(
        self,
        *,
        earlier: Sequence[LossRow] = (),
        rows: Sequence[LossRow] = (),
        training_losses: Sequence[float] = (),
    ) -> None:
        self.earlier = list(earlier)
        self.rows = list(rows)
        self.training_losses = list(training_losses)
        self._stopped_at: LossRow | None = None

    @property
    def all_rows(self) -> list[LossRow]:
        """All evaluations, also the one at which the run was stopped."""
        return [*self.earlier, *self.rows, *([] if self._stopped_at is None else [self._stopped_at])]

    def add(self, progress: Progress, write_sample: Callable[[], str] | None = None) -> Update:
        """Enters a step and returns the news of it."""
        before = self.earlier[-1] if self.earlier else None
        self.training_losses.append(progress.training_loss)
        best = min((row.validation_loss for row in self.all_rows), default=math.inf)
        step = progress.step + (before.step if before else 0)
        epoch = progress.epoch + (before.epoch if before else 0)
        if progress.validation_loss is None:
            return Update(progress, step, epoch, None, False, best, write_sample)
        row = LossRow(
            step=step,
            epoch=epoch,
            seconds=progress.seconds + (before.seconds if before else 0),
            characters=progress.characters + (before.characters if before else 0),
            learning_rate=progress.learning_rate,
            training_loss=sum(self.training_losses) / len(self.training_losses),
            validation_loss=progress.validation_loss,
        )
        # Don't let the extra evaluation at Ctrl-C become best.pt: a run that was never interrupted would not have
        # done it. But a run that is stopped before its first evaluation needs some checkpoint.
        is_best = best == math.inf or (progress.scheduled and row.validation_loss < best)
        if progress.scheduled:
            self.rows.append(row)
            self.training_losses.clear()
        else:
            self._stopped_at = row
        return Update(progress, step, epoch, row, is_best, min(best, row.validation_loss), write_sample)
