import math
import threading
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
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
from nextchar_training.learning.workers import Workers
from nextchar_training.run.snapshot import Snapshot, load_snapshot, save_snapshot

B, T = 4, 8
PATTERN = "one fish, two fish.\n"


def recipe(*, epochs: int | None = 1, minutes: float | None = None, T: int = T, seed: int = 1) -> Recipe:
    return Recipe(
        epochs=epochs, minutes=minutes, batch_size=B, sequence_length=T, learning_rate=1e-2, dropout=0.1, seed=seed
    )


def split(text: str) -> Split:
    """The first nine tenths of ``text`` for training, the last tenth held out."""
    alphabet = Alphabet.of(text)
    end = len(text) * 9 // 10
    line_end = int(alphabet.encode("\n")[0]) if "\n" in text else None
    return Split(alphabet.encode(text[:end]), [alphabet.spell(text[end:])], line_end)


class Training:
    """A tiny network that learns a text, and the progress that its trainer yields."""

    def __init__(
        self,
        text: str,
        recipe: Recipe,
        stop: threading.Event | None = None,
        position: Position | None = None,
        cell: Cell = "lstm",
    ) -> None:
        self.alphabet = Alphabet.of(text)
        torch.manual_seed(0)
        architecture = Architecture(alphabet_size=self.alphabet.size, hidden_size=16, embedding_size=8, cell=cell)
        self.network = Network(architecture, dropout=0.1)
        self.trainer = Trainer(self.network, split(text), recipe, position=position)
        self.progress = self.trainer.steps(stop or threading.Event())

    def weights(self) -> list[list[float]]:
        return [weight.flatten().tolist() for weight in self.network.parameters()]


CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


@CELLS
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


@pytest.mark.parametrize("steps", [1, 2, 17, 37])
def test_a_training_that_continues_from_a_position_takes_the_steps_of_one_that_never_stopped(steps: int) -> None:
    text, wanted = PATTERN * 30, recipe(epochs=3)
    whole = Training(text, wanted)
    expected = [progress.training_loss for progress in whole.progress]
    assert len(expected) > 37
    first = Training(text, wanted)
    losses = [progress.training_loss for progress in islice(first.progress, steps)]
    position, weights = first.trainer.position, first.network.state_dict()
    second = Training(text, wanted, position=position)  # its own weights have moved torch's generator
    second.network.load_state_dict(weights)
    losses += [progress.training_loss for progress in second.progress]
    assert losses == expected
    assert second.weights() == whole.weights()


@CELLS
def test_a_training_continues_from_a_file_as_if_it_had_never_stopped(cell: Cell, tmp_path: Path) -> None:
    text, wanted = PATTERN * 30, recipe(epochs=3)
    whole = Training(text, wanted, cell=cell)
    expected = [progress.training_loss for progress in whole.progress]
    first = Training(text, wanted, cell=cell)
    losses = [progress.training_loss for progress in islice(first.progress, 17)]
    snapshot = Snapshot(
        command="",
        sources=(),
        corpus_sha256="",
        rules=Rules(),
        device="cpu",
        processes=1,
        threads=1,
        architecture=first.network.architecture,
        recipe=wanted,
        weights=first.network.state_dict(),
        position=first.trainer.position,
        losses=[],
        training_losses=losses,
    )
    save_snapshot(snapshot, tmp_path / "stopped.pt")
    stopped = load_snapshot(tmp_path / "stopped.pt")
    assert stopped.architecture.cell == cell
    second = Training(text, stopped.recipe, position=stopped.position, cell=stopped.architecture.cell)
    second.network.load_state_dict(stopped.weights)
    assert [*stopped.training_losses, *(progress.training_loss for progress in second.progress)] == expected
    assert second.weights() == whole.weights()


def test_a_training_at_the_end_of_its_budget_takes_no_more_steps() -> None:
    first = Training(PATTERN * 30, recipe())
    list(first.progress)
    assert list(Training(PATTERN * 30, recipe(), position=first.trainer.position).progress) == []


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


# A text without a repeated character, so that an id identifies its place.
PLACES = "".join(chr(0x4E00 + n) for n in range(3000))


@dataclass(frozen=True)
class Reading:
    """The input of the network in a step: ids (T, B), and which streams had state zero, (B,)."""

    ids: Tensor
    zero: Tensor


@pytest.fixture(scope="module")
def readings() -> list[Reading]:
    """Two epochs over ``PLACES``, with sequences so short that an epoch has more steps than a passage."""
    training = Training(PLACES, recipe(epochs=2, T=2))
    seen: list[Reading] = []

    def record(module: nn.Module, inputs: tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]) -> None:
        ids, ((hidden, cell),) = inputs
        if module.training:
            seen.append(Reading(ids, ((hidden == 0) & (cell == 0)).all(dim=2)[0]))

    training.network.register_forward_pre_hook(record)
    list(training.progress)
    return seen


def test_the_state_is_zero_exactly_when_a_stream_reads_the_boundary(readings: list[Reading]) -> None:
    for reading in readings:
        assert torch.equal(reading.ids[0] == BOUNDARY, reading.zero)
        assert not (reading.ids[1:] == BOUNDARY).any()


def test_streams_begin_passages_at_different_steps(readings: list[Reading]) -> None:
    beginnings = [int(reading.zero.sum()) for reading in readings]
    assert beginnings[0] == B
    assert set(beginnings[1:]) == {0, 1}
    assert sum(beginnings) > 3 * B


def test_every_stream_continues_at_the_character_after_its_last(readings: list[Reading]) -> None:
    for before, after in pairwise(readings):
        continues = ~after.zero
        assert torch.equal(after.ids[0][continues], before.ids[-1][continues] + 1)
        assert torch.equal(after.ids[1][continues], after.ids[0][continues] + 1)


def test_an_epoch_reads_nearly_all_of_the_training_text_about_once(readings: list[Reading]) -> None:
    read = torch.cat([reading.ids.flatten() for reading in readings])
    places, times = np.unique(read[read != BOUNDARY].numpy(), return_counts=True)
    assert len(places) > 0.95 * (len(PLACES) * 9 // 10)
    assert times.max() <= 3


def test_the_held_out_text_is_never_trained_on(readings: list[Reading]) -> None:
    trained = len(PLACES) * 9 // 10
    assert max(int(reading.ids.max()) for reading in readings) <= trained


def test_passages_begin_with_a_line_if_one_is_near() -> None:
    text = "".join(f"{line:03}\n" for line in range(200))
    training = Training(text, recipe())
    seen: list[Tensor] = []
    training.network.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0]) if module.training else None
    )
    list(training.progress)
    for ids in seen:
        for row in ids.T:
            if row[0] == BOUNDARY:
                assert decode(training.alphabet, row[1:].tolist())[3] == "\n"


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


def test_patience_ends_a_training_after_evaluations_without_a_better_loss() -> None:
    impatient = replace(recipe(epochs=100), patience=2, learning_rate=1e-12)
    every = list(Training("abcdefgh" * 50, impatient).progress)
    losses = [progress.validation_loss for progress in every if progress.validation_loss is not None]
    assert every[-1].epoch < 100
    assert every[-1].fraction == 1.0
    assert min(losses[:-2]) <= min(losses[-2:])


def test_progress_reports_how_busy_the_threads_are() -> None:
    progress = next(Training(PATTERN * 30, recipe()).progress)
    assert progress.busy > 0


def test_a_text_with_nothing_held_out_is_refused() -> None:
    network = Network(Architecture(alphabet_size=5, hidden_size=4, embedding_size=4))
    with pytest.raises(TrainingError, match="no text is held out"):
        Trainer(network, Split(Alphabet.of("abcd").encode("abcd" * 30), [], None), recipe())


class TwoWorkers(Workers):
    """One of two workers."""

    size = 2


def test_a_batch_that_the_workers_cannot_divide_evenly_is_refused() -> None:
    network = Network(Architecture(alphabet_size=Alphabet.of(PATTERN).size, hidden_size=4, embedding_size=4))
    odd = replace(recipe(), batch_size=3)
    with pytest.raises(TrainingError, match="2 processes can't divide a batch of 3 sequences evenly"):
        Trainer(network, split(PATTERN * 30), odd, workers=TwoWorkers())


def test_a_position_of_another_number_of_workers_is_refused() -> None:
    training = Training(PATTERN * 30, recipe())
    next(training.progress)
    position = training.trainer.position
    with pytest.raises(TrainingError, match="ran in 1 process;"):
        Trainer(training.network, split(PATTERN * 30), recipe(), position=position, workers=TwoWorkers())
