"""Trainings that continue from a position as if they had never stopped."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from nextchar_model.cell import Cell
from nextchar_training.data.rules import Rules
from nextchar_training.learning.recipe import TrainingError
from nextchar_training.learning.trainer import Trainer
from nextchar_training.run.snapshot import Snapshot, load_snapshot, save_snapshot
from tests.support.tiny_training import CELLS, PATTERN, Training, TwoWorkers, recipe, split


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


def test_a_position_of_another_number_of_workers_is_refused() -> None:
    training = Training(PATTERN * 30, recipe())
    next(training.progress)
    position = training.trainer.position
    with pytest.raises(TrainingError, match="ran in 1 process;"):
        Trainer(training.network, split(PATTERN * 30), recipe(), position=position, workers=TwoWorkers())
