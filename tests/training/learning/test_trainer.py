import math
import threading
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.cell import Cell
from nextchar_model.decoder import decode
from nextchar_training.data.batches import TextTooShortError
from nextchar_training.data.rules import Rules
from nextchar_training.data.split import Split
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture, Recipe, TrainingError
from nextchar_training.learning.trainer import Position, Progress, Trainer
from nextchar_training.run.snapshot import StoppedRun, load_stopped_run, save_stopped_run

B, T = 4, 8
PATTERN = "one fish, two fish.\n"


def settings(*, epochs: int | None = 1, minutes: float | None = None, T: int = T, seed: int = 1) -> Recipe:
    return Recipe(
        epochs=epochs, minutes=minutes, batch_size=B, sequence_length=T, learning_rate=1e-2, dropout=0.1, seed=seed
    )


def lesson(text: str) -> Split:
    """The first nine tenths of ``text`` to train on, the last one to evaluate."""
    alphabet = Alphabet.of(text)
    end = len(text) * 9 // 10
    line_end = int(alphabet.encode("\n")[0]) if "\n" in text else None
    return Split(alphabet.encode(text[:end]), [alphabet.spell(text[end:])], line_end)


class Training:
    """A tiny network that learns a text, and what it reports."""

    def __init__(
        self,
        text: str,
        settings: Recipe,
        stop: threading.Event | None = None,
        position: Position | None = None,
        cell: Cell = "lstm",
    ) -> None:
        self.alphabet = Alphabet.of(text)
        torch.manual_seed(0)
        architecture = Architecture(alphabet_size=self.alphabet.size, hidden_size=16, embedding_size=8, cell=cell)
        self.network = Network(architecture, dropout=0.1)
        self.trainer = Trainer(self.network, lesson(text), settings, position=position)
        self.progress = self.trainer.steps(stop or threading.Event())

    def weights(self) -> list[list[float]]:
        return [weight.flatten().tolist() for weight in self.network.parameters()]


CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


@CELLS
def test_training_learns_a_repeating_text(cell: Cell) -> None:
    *_, last = Training(PATTERN * 60, settings(epochs=12), cell=cell).progress
    assert last.validation_loss is not None
    assert last.validation_loss < 0.3 * math.log(Alphabet.of(PATTERN).size)


def finished(seed: int) -> tuple[list[list[float]], list[tuple[float, float | None]]]:
    """The weights and the losses after a whole training."""
    training = Training(PATTERN * 30, settings(epochs=2, seed=seed))
    losses = [(progress.training_loss, progress.validation_loss) for progress in training.progress]
    return training.weights(), losses


def test_same_seed_takes_the_same_steps_bit_for_bit() -> None:
    assert finished(seed=5) == finished(seed=5)


def test_another_seed_takes_other_steps() -> None:
    assert finished(seed=5) != finished(seed=6)


def test_epochs_are_as_many_as_asked_for() -> None:
    *_, last = Training(PATTERN * 30, settings(epochs=3)).progress
    assert (last.epoch, last.fraction) == (3.0, 1.0)


def test_minutes_end_the_training_when_they_are_spent() -> None:
    *_, last = Training(PATTERN * 30, settings(epochs=None, minutes=1e-9)).progress
    assert (last.step, last.fraction) == (1, 1.0)


def test_stop_ends_the_training_after_the_step_with_an_evaluation() -> None:
    stop = threading.Event()
    training = Training(PATTERN * 30, settings(epochs=1000), stop)
    first = next(training.progress)
    stop.set()
    (last,) = training.progress
    assert (first.step, last.step) == (1, 2)
    assert first.validation_loss is None
    assert last.validation_loss is not None


@pytest.mark.parametrize("steps", [1, 2, 17, 37])
def test_training_that_goes_on_from_a_position_takes_the_steps_of_one_that_never_stopped(steps: int) -> None:
    text, wanted = PATTERN * 30, settings(epochs=3)
    whole = Training(text, wanted)
    expected = [progress.training_loss for progress in whole.progress]
    assert len(expected) > 37
    first = Training(text, wanted)
    losses = [progress.training_loss for progress in islice(first.progress, steps)]
    position, weights = first.trainer.position, first.network.state_dict()
    second = Training(text, wanted, position=position)  # which has drawn from torch's generator meanwhile
    second.network.load_state_dict(weights)
    losses += [progress.training_loss for progress in second.progress]
    assert losses == expected
    assert second.weights() == whole.weights()


@CELLS
def test_training_goes_on_from_a_file_as_if_it_had_never_stopped(cell: Cell, tmp_path: Path) -> None:
    text, wanted = PATTERN * 30, settings(epochs=3)
    whole = Training(text, wanted, cell=cell)
    expected = [progress.training_loss for progress in whole.progress]
    first = Training(text, wanted, cell=cell)
    losses = [progress.training_loss for progress in islice(first.progress, 17)]
    weights, architecture = first.network.state_dict(), first.network.architecture
    run = StoppedRun(
        "", (), "", Rules(), "cpu", 1, 1, architecture, wanted, weights, first.trainer.position, [], losses
    )
    save_stopped_run(run, tmp_path / "stopped.pt")
    stopped = load_stopped_run(tmp_path / "stopped.pt")
    assert stopped.architecture.cell == cell
    second = Training(text, stopped.settings, position=stopped.position, cell=stopped.architecture.cell)
    second.network.load_state_dict(stopped.weights)
    assert [*stopped.training_losses, *(progress.training_loss for progress in second.progress)] == expected
    assert second.weights() == whole.weights()


def test_training_that_stopped_at_its_end_has_no_more_steps() -> None:
    first = Training(PATTERN * 30, settings())
    list(first.progress)
    assert list(Training(PATTERN * 30, settings(), position=first.trainer.position).progress) == []


def test_the_evaluation_that_a_stop_brings_is_no_scheduled_one() -> None:
    stop = threading.Event()
    training = Training(PATTERN * 30, settings(epochs=1000), stop)
    next(training.progress)
    stop.set()
    (last,) = training.progress
    assert last.validation_loss is not None
    assert not last.scheduled
    every = Training(PATTERN * 200, settings(epochs=2)).progress
    assert {(progress.validation_loss is not None) == progress.scheduled for progress in every} == {True}


def test_evaluations_are_spread_over_the_budget_and_end_it() -> None:
    every = list(Training(PATTERN * 200, settings(epochs=2)).progress)
    evaluated = [progress.fraction for progress in every if progress.validation_loss is not None]
    gaps = [after - before for before, after in zip([0.0, *evaluated], evaluated, strict=False)]
    assert len(every) > 200
    assert len(evaluated) == 25
    assert max(gaps) < 0.05
    assert evaluated[-1] == 1.0


def test_a_short_training_has_few_evaluations() -> None:
    every = list(Training(PATTERN * 200, settings(epochs=None, minutes=0.02)).progress)
    assert len(every) > 20
    assert sum(progress.scheduled for progress in every) == 5


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [progress.learning_rate for progress in Training(PATTERN * 100, settings(epochs=2)).progress]
    peak = rates.index(max(rates))
    assert 0.04 < peak / len(rates) < 0.07
    assert max(rates) == pytest.approx(1e-2, rel=0.02)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 1e-2 * 0.001


def test_training_of_a_text_without_lines_works() -> None:
    progress = next(Training("abcdefgh" * 50, settings()).progress)
    assert math.isfinite(progress.training_loss)


# A text in which every character is another one, so that an id tells its place.
PLACES = "".join(chr(0x4E00 + n) for n in range(3000))


@dataclass(frozen=True)
class Reading:
    """What the network reads in a step: ids (T, B), and the streams whose state was zero, (B,)."""

    ids: Tensor
    zero: Tensor


@pytest.fixture(scope="module")
def readings() -> list[Reading]:
    """Two epochs over ``PLACES``. Sequences are short, so that an epoch has more steps than a passage."""
    training = Training(PLACES, settings(epochs=2, T=2))
    seen: list[Reading] = []

    def record(module: nn.Module, inputs: tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]) -> None:
        ids, ((hidden, cell),) = inputs
        if module.training:
            seen.append(Reading(ids, ((hidden == 0) & (cell == 0)).all(dim=2)[0]))

    training.network.register_forward_pre_hook(record)
    list(training.progress)
    return seen


def test_state_is_zero_exactly_where_a_stream_reads_the_boundary(readings: list[Reading]) -> None:
    for reading in readings:
        assert torch.equal(reading.ids[0] == BOUNDARY, reading.zero)
        assert not (reading.ids[1:] == BOUNDARY).any()


def test_streams_begin_passages_at_different_steps(readings: list[Reading]) -> None:
    beginnings = [int(reading.zero.sum()) for reading in readings]
    assert beginnings[0] == B
    assert set(beginnings[1:]) == {0, 1}
    assert sum(beginnings) > 3 * B


def test_every_stream_reads_on_where_it_stopped(readings: list[Reading]) -> None:
    for before, after in pairwise(readings):
        goes_on = ~after.zero
        assert torch.equal(after.ids[0][goes_on], before.ids[-1][goes_on] + 1)
        assert torch.equal(after.ids[1][goes_on], after.ids[0][goes_on] + 1)


def test_training_reads_nearly_all_of_the_training_text_and_no_part_too_often(readings: list[Reading]) -> None:
    read = torch.cat([reading.ids.flatten() for reading in readings])
    places, times = read[read != BOUNDARY].unique(return_counts=True)
    assert len(places) > 0.95 * (len(PLACES) * 9 // 10)
    assert times.max() <= 3


def test_held_out_text_is_never_trained_on(readings: list[Reading]) -> None:
    trained = len(PLACES) * 9 // 10
    assert max(int(reading.ids.max()) for reading in readings) <= trained


def test_passages_begin_with_a_line_where_one_is_near() -> None:
    text = "".join(f"{line:03}\n" for line in range(200))
    training = Training(text, settings())
    seen: list[Tensor] = []
    training.network.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0]) if module.training else None
    )
    list(training.progress)
    for ids in seen:
        for row in ids.T:
            if row[0] == BOUNDARY:
                assert decode(training.alphabet, row[1:].tolist())[3] == "\n"


def test_text_shorter_than_a_batch_is_refused_with_both_numbers() -> None:
    with pytest.raises(TextTooShortError, match="27 ids, fewer than one batch of 4 x 8 = 32"):
        next(Training("a" * 30, settings()).progress)


def test_text_of_exactly_a_batch_is_enough() -> None:
    assert len(list(islice(Training("ab" * 18, settings(epochs=3)).progress, 10))) == 3


def test_loss_that_is_not_finite_is_an_error() -> None:
    training = Training(PATTERN * 30, settings())
    with torch.no_grad():
        training.network.readout.bias[0] = math.nan
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        next(training.progress)


def test_progress_counts_characters_read() -> None:
    every: list[Progress] = list(islice(Training(PATTERN * 30, settings()).progress, 3))
    assert [progress.characters for progress in every] == [B * T, 2 * B * T, 3 * B * T]
