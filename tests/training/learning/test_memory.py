"""The memory that a training takes is told before it starts."""

from __future__ import annotations

import pytest

from nextchar_model.cell import Cell
from nextchar_training.learning.memory import parameters, training_bytes
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture, Recipe
from nextchar_training.run.advice import about_memory

RECIPE = Recipe(epochs=1)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_weights_are_counted_as_the_network_has_them(cell: Cell) -> None:
    architecture = Architecture(alphabet_size=7, hidden_size=5, embedding_size=3, layers=2, cell=cell)
    network = Network(architecture)
    assert parameters(architecture) == sum(weight.numel() for weight in network.parameters())


def test_a_large_alphabet_takes_memory_per_id_of_a_batch() -> None:
    small, large = (training_bytes(Architecture(alphabet_size=size), RECIPE) for size in (65, 20_926))
    assert small < 0.7e9
    assert large - small > 2048 * 20_000 * 16  # a batch's logits, their gradients and what goes between


def test_teachers_take_memory_for_their_distributions_too() -> None:
    architecture = Architecture(alphabet_size=10_000)
    alone, taught = (training_bytes(architecture, RECIPE, taught=taught) for taught in (False, True))
    assert taught - alone > 2048 * 10_000 * 4 * 3  # theirs, the tempered logits and their gradients


def test_much_memory_is_told_with_the_options_that_save_it() -> None:
    assert about_memory(Architecture(alphabet_size=65), RECIPE) is None
    advice = about_memory(Architecture(alphabet_size=20_926), RECIPE)
    assert advice is not None
    assert "an alphabet of 20,926 ids" in advice
    assert "--batch-size" in advice
    assert "--minimum-count" in advice
