"""The trainer: its steps, its budget, its progress, and the texts that it refuses."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from itertools import islice

import pytest
import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_training.data.batches import TextTooShortError
from nextchar_training.data.split import Split
from nextchar_training.learning.network import Network
from nextchar_training.learning.progress import Progress
from nextchar_training.learning.recipe import Architecture, TrainingError
from nextchar_training.learning.trainer import Trainer
from tests.support.tiny_training import CELLS, PATTERN, B, T, Training, TwoWorkers, recipe, split


@CELLS
@pytest.mark.slow
def test_training_learns_a_repeating_text(cell: Cell) -> None:
    *_, last = Training(PATTERN * 60, recipe(epochs=12), cell=cell).progress
    assert last.validation_loss is not None
    assert last.validation_loss < 0.3 * math.log(Alphabet.of(PATTERN).size)


def finished(seed: int) -> tuple[list[list[float]], list[tuple[float, float | None]]]:
    """The weights and the losses after a whole training."""
    training = Training(PATTERN * 30, recipe(epochs=2, seed=seed))
    losses = [(progress.training_loss, progress.validation_loss) for progress in training.progress]
    return training.weights(), losses


def test_same_seed_takes_the_same_steps_bit_for_bit() -> None:
    assert finished(seed=5) == finished(seed=5)


def test_another_seed_takes_other_steps() -> None:
    assert finished(seed=5) != finished(seed=6)


def test_a_training_takes_the_epochs_of_its_budget() -> None:
    *_, last = Training(PATTERN * 30, recipe(epochs=3)).progress
    assert (last.epoch, last.fraction) == (3.0, 1.0)


def test_a_training_ends_when_its_minutes_are_spent() -> None:
    *_, last = Training(PATTERN * 30, recipe(epochs=None, minutes=1e-9)).progress
    assert (last.step, last.fraction) == (1, 1.0)


def test_a_stop_ends_the_training_with_an_evaluation_after_the_step() -> None:
    stop = threading.Event()
    training = Training(PATTERN * 30, recipe(epochs=1000), stop)
    first = next(training.progress)
    stop.set()
    (last,) = training.progress
    assert (first.step, last.step) == (1, 2)
    assert first.validation_loss is None
    assert last.validation_loss is not None


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [progress.learning_rate for progress in Training(PATTERN * 100, recipe(epochs=2)).progress]
    peak = rates.index(max(rates))
    assert 0.04 < peak / len(rates) < 0.07
    assert max(rates) == pytest.approx(1e-2, rel=0.02)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 1e-2 * 0.001


def test_a_text_without_lines_can_be_learned() -> None:
    progress = next(Training("abcdefgh" * 50, recipe()).progress)
    assert math.isfinite(progress.training_loss)


def test_a_text_shorter_than_a_batch_is_refused_with_both_numbers() -> None:
    with pytest.raises(TextTooShortError, match="27 ids, fewer than one batch of 4 x 8 = 32"):
        next(Training("a" * 30, recipe()).progress)


def test_a_text_of_exactly_a_batch_is_enough() -> None:
    assert len(list(islice(Training("ab" * 18, recipe(epochs=3)).progress, 10))) == 3


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    training = Training(PATTERN * 30, recipe())
    with torch.no_grad():
        training.network.readout.bias[0] = math.nan
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        next(training.progress)


def test_progress_counts_characters_read() -> None:
    every: list[Progress] = list(islice(Training(PATTERN * 30, recipe()).progress, 3))
    assert [progress.characters for progress in every] == [B * T, 2 * B * T, 3 * B * T]


def test_progress_reports_how_busy_the_threads_are() -> None:
    progress = next(Training(PATTERN * 30, recipe()).progress)
    assert progress.busy > 0


def test_a_text_with_nothing_held_out_is_refused() -> None:
    network = Network(Architecture(alphabet_size=5, hidden_size=4, embedding_size=4))
    with pytest.raises(TrainingError, match="no text is held out"):
        Trainer(network, Split(Alphabet.of("abcd").encode("abcd" * 30), [], None), recipe())


def test_a_batch_that_the_workers_cannot_divide_evenly_is_refused() -> None:
    network = Network(Architecture(alphabet_size=Alphabet.of(PATTERN).size, hidden_size=4, embedding_size=4))
    odd = replace(recipe(), batch_size=3)
    with pytest.raises(TrainingError, match="2 processes can't divide a batch of 3 sequences evenly"):
        Trainer(network, split(PATTERN * 30), odd, workers=TwoWorkers())
