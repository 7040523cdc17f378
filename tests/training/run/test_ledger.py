from dataclasses import replace

import pytest

from nextchar_training.run.folder import LossRow
from nextchar_training.run.ledger import Ledger
from tests.support.progress import progress


def row(step: int, validation_loss: float) -> LossRow:
    return LossRow(
        step=step,
        epoch=step / 100,
        seconds=step * 0.5,
        characters=step * 4096,
        learning_rate=0.003,
        training_loss=2.0,
        validation_loss=validation_loss,
    )


def test_training_loss_of_a_row_is_the_mean_since_the_row_before() -> None:
    ledger = Ledger()
    for step, loss in ((64, None), (128, 1.5), (192, None), (256, 1.25)):
        ledger.add(progress(step, loss))
    # A step's made-up loss is 1.25 + step / 64.
    assert [one.training_loss for one in ledger.rows] == [2.75, 4.75]


def test_evaluation_with_the_lowest_loss_is_the_best() -> None:
    ledger = Ledger()
    updates = [ledger.add(progress(step, loss)) for step, loss in ((1, 1.5), (2, 1.25), (3, 1.375), (4, None))]
    assert [update.is_best for update in updates] == [True, True, False, False]
    assert [update.best_loss for update in updates] == [1.5, 1.25, 1.25, 1.25]


def test_evaluation_at_an_interrupt_is_not_the_best() -> None:
    ledger = Ledger(rows=[row(1, 1.5)])
    update = ledger.add(replace(progress(2, 1.25), scheduled=False))
    assert not update.is_best
    assert ledger.rows == [row(1, 1.5)]
    assert ledger.all_rows == [row(1, 1.5), update.row]


def test_evaluation_at_an_interrupt_before_any_other_is_the_best() -> None:
    assert Ledger().add(replace(progress(2, 1.25), scheduled=False)).is_best


def test_continued_run_counts_on_from_the_earlier_one() -> None:
    ledger = Ledger(earlier=[row(10, 1.5), row(20, 1.25)])
    first, second = ledger.add(progress(5, 1.375)), ledger.add(progress(10, 1.125))
    assert (first.step, second.step) == (25, 30)
    assert (first.is_best, second.is_best) == (False, True)
    last = second.row
    assert last is not None
    assert (last.step, last.characters) == (30, 30 * 4096)
    assert (last.epoch, last.seconds) == pytest.approx((0.3, 15.0))
    assert [one.step for one in ledger.all_rows] == [10, 20, 25, 30]


def test_sample_is_written_once_for_all_reporters() -> None:
    samples = ["first", "second"]
    update = Ledger().add(progress(1, 1.5), lambda: samples.pop(0))
    assert (update.sample, update.sample) == ("first", "first")
