import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from pydantic import ValidationError

from nextchar_cli.wording import explain
from nextchar_training.learning.recipe import Architecture, Recipe, Sizes, suggested_hidden_size


def complaint(make: Any, **values: Any) -> tuple[str, str]:
    """The field that is refused and the sentence about it."""
    with pytest.raises(ValidationError) as caught:
        make(**values)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("sequence_length", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("input_dropout", math.nan),
        ("weight_decay", -0.1),
        ("weight_decay", math.inf),
        ("averaging_period", 0),
        ("patience", 0),
        ("seed", -1),
        ("seed", 2**64),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    field, sentence = complaint(Recipe, **{"epochs": 1, name: value})
    assert field == name
    assert sentence.startswith(f"{value} is invalid; it must be")


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_minutes_out_of_range_are_refused(minutes: float) -> None:
    assert complaint(Recipe, minutes=minutes)[0] == "minutes"


@pytest.mark.parametrize("budget", [{}, {"minutes": 1.0, "epochs": 1}])
def test_the_budget_is_either_minutes_or_epochs(budget: dict[str, float]) -> None:
    assert complaint(Recipe, **budget) == ("", "the budget is minutes or epochs: give exactly one of them")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(minutes=1), "1 minute"),
        (Recipe(minutes=0.5), "0.5 minutes"),
        (Recipe(epochs=1), "1 epoch"),
        (Recipe(epochs=3), "3 epochs"),
    ],
)
def test_the_budget_in_words_agrees_in_number(recipe: Recipe, words: str) -> None:
    assert recipe.budget == words


@pytest.mark.parametrize("name", ["alphabet_size", "hidden_size", "layers", "embedding_size"])
@pytest.mark.parametrize("size", [0, -1, 2.5, "many"])
def test_a_size_that_is_no_whole_number_above_0_is_refused_by_name(name: str, size: object) -> None:
    assert complaint(Architecture, **{"alphabet_size": 5, name: size})[0] == name


def test_an_unknown_cell_is_refused_with_those_that_are_known() -> None:
    expected = ("cell", "'qrnn' is invalid; it must be 'rnn', 'gru' or 'lstm'")
    assert complaint(Architecture, alphabet_size=5, cell="qrnn") == expected


def test_an_unknown_name_is_refused() -> None:
    assert complaint(Recipe, epochs=1, momentum=0.9)[0] == "momentum"


@pytest.mark.parametrize("value", [Recipe(minutes=2, patience=3), Architecture(alphabet_size=5, cell="gru")])
def test_what_is_written_as_a_dictionary_is_read_back(value: Recipe | Architecture) -> None:
    assert type(value)(**asdict(value)) == value
    assert replace(value) == value


def test_sizes_become_an_architecture_with_an_alphabet() -> None:
    sizes = Sizes(cell="rnn", hidden_size=3, layers=2, embedding_size=4)
    expected = Architecture(alphabet_size=7, cell="rnn", hidden_size=3, layers=2, embedding_size=4)
    assert sizes.architecture(7) == expected


@pytest.mark.parametrize(("characters", "size"), [(0, 256), (30_000, 256), (100_000, 512), (10**10, 512)])
def test_a_smaller_network_is_suggested_for_a_small_corpus(characters: int, size: int) -> None:
    assert suggested_hidden_size(characters) == size
