"""The evaluations of a training: when they come, and how patience uses them."""

from __future__ import annotations

import threading
from dataclasses import replace

from tests.support.tiny_training import PATTERN, Training, recipe


def test_only_the_evaluation_at_a_stop_is_unscheduled() -> None:
    stop = threading.Event()
    training = Training(PATTERN * 30, recipe(epochs=1000), stop)
    next(training.progress)
    stop.set()
    (last,) = training.progress
    assert last.validation_loss is not None
    assert not last.scheduled
    every = Training(PATTERN * 200, recipe(epochs=2)).progress
    assert {(progress.validation_loss is not None) == progress.scheduled for progress in every} == {True}


def test_evaluations_are_spread_over_the_budget_and_end_it() -> None:
    every = list(Training(PATTERN * 200, recipe(epochs=2)).progress)
    evaluated = [progress.fraction for progress in every if progress.validation_loss is not None]
    gaps = [after - before for before, after in zip([0.0, *evaluated], evaluated, strict=False)]
    assert len(every) > 200
    assert len(evaluated) == 25
    assert max(gaps) < 0.05
    assert evaluated[-1] == 1.0


def test_a_short_training_has_few_evaluations() -> None:
    every = list(Training(PATTERN * 200, recipe(epochs=None, minutes=0.02)).progress)
    assert len(every) > 20
    assert sum(progress.scheduled for progress in every) == 5


def test_patience_ends_a_training_after_evaluations_without_a_better_loss() -> None:
    impatient = replace(recipe(epochs=100), patience=2, learning_rate=1e-12)
    every = list(Training("abcdefgh" * 50, impatient).progress)
    losses = [progress.validation_loss for progress in every if progress.validation_loss is not None]
    assert every[-1].epoch < 100
    assert every[-1].fraction == 1.0
    assert min(losses[:-2]) <= min(losses[-2:])
