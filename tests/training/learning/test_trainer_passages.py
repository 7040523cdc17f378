"""The text that a training reads: passages side by side, each from state zero."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.decoder import decode
from tests.support.tiny_training import B, Training, recipe

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


@pytest.mark.slow
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
