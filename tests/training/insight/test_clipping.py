"""With large recurrent weights an RNN's gradients grow, and clipping keeps its training from being thrown about."""

import math

import numpy as np
import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_training.data.split import Split
from nextchar_training.insight import clipping
from nextchar_training.insight.gradients import REACH
from nextchar_training.insight.reach import in_words, shares
from nextchar_training.learning.recipe import Architecture, Recipe

TEXT = "A line of a text that repeats itself.\n" * 80
RECIPE = Recipe(epochs=1, batch_size=4, sequence_length=16, dropout=0.0, input_dropout=0.0)


def rnn_and_split() -> tuple[Architecture, Split]:
    alphabet, end = Alphabet.of(TEXT), len(TEXT) * 9 // 10
    split = Split(alphabet.encode(TEXT[:end]), [alphabet.spell(TEXT[end:])], int(alphabet.encode("\n")[0]))
    return Architecture(alphabet_size=alphabet.size, hidden_size=32, cell="rnn"), split


def test_gradients_grow_from_state_to_state_if_the_recurrent_weights_are_large() -> None:
    architecture, split = rnn_and_split()
    (left,) = shares(clipping.exploding_gradients(split, architecture, RECIPE)).values()
    assert left[REACH] > 10 * left[REACH // 2] > 100 * left[0]


def test_both_trainings_start_alike_and_only_the_clipped_one_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipping, "STEPS", 40)
    architecture, split = rnn_and_split()
    rows = clipping.train_both_ways(split, architecture, RECIPE)
    free, clipped = ([row for row in rows if row.clipped is kind] for kind in (False, True))
    assert (free[0].loss, free[0].gradient_norm) == (clipped[0].loss, clipped[0].gradient_norm)
    assert len(clipped) == clipping.STEPS
    assert math.isfinite(clipped[-1].loss)
    assert max(row.gradient_norm for row in free) > clipping.CLIP_NORM
    late = slice(-clipping.STEPS // 4, None)
    assert np.mean([row.loss for row in clipped[late]]) < np.mean([row.loss for row in free[late]])


def test_a_share_of_a_gradient_that_grew_is_told_as_a_multiple() -> None:
    assert [in_words(share) for share in (0, 3e-8, 0.0034, 0.82, 1.3, 340, 4e7)] == [
        "none", "1 in 10⁸", "1 in 300", "82%", "130%", "300 times", "10⁸ times",
    ]  # fmt: skip
