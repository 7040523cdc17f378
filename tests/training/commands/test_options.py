"""Options derived from the dataclasses that hold their defaults and ranges."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from cyclopts import App

from nextchar_cli.command_line import UsageError
from nextchar_training.commands import app, options
from nextchar_training.data.rules import Rules
from nextchar_training.learning.recipe import Recipe, Sizes, Teaching


def names(verb: str) -> set[str]:
    command = app[verb]
    assert isinstance(command, App)
    return {name for argument in command.assemble_argument_collection() for name in argument.names}


def test_every_field_of_recipe_sizes_teaching_and_rules_is_an_option_of_fit() -> None:
    fields = [field.name for source in (Recipe, Sizes, Teaching, Rules) for field in dataclasses.fields(source)]
    assert {options.option(name) for name in fields} <= names("fit")


def test_options_left_out_are_not_given() -> None:
    made = options.derived(Sizes, options.NETWORK_GROUP)
    assert options.given(made(layers=2)) == {"layers": 2}
    assert options.given(None) == {}


def test_the_recipe_has_its_own_defaults_for_options_left_out() -> None:
    budget = options.derived(Recipe, options.BUDGET_GROUP, "epochs")
    training = options.derived(Recipe, options.TRAINING_GROUP, "dropout", "seed")
    recipe = options.recipe(budget(epochs=3), training(dropout=0.5))
    assert recipe == Recipe(epochs=3, dropout=0.5)


def test_the_rules_of_a_model_change_only_where_an_option_is_given() -> None:
    usual = Rules(documents="line", minimum_count=5)
    assert options.rules(Rules(minimum_count=1), usual) == Rules(documents="line", minimum_count=1)
    assert options.rules(None, usual) == usual


def test_rules_that_do_not_go_together_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--replacement needs --rare replace"):
        options.rules(Rules(replacement="?"))


def test_a_file_that_can_be_written_is_accepted(tmp_path: Path) -> None:
    options.check_file(tmp_path / "new.onnx")
    (tmp_path / "old.onnx").touch()
    options.check_file(tmp_path / "old.onnx")


def test_a_pipe_or_device_is_not_accepted_as_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is not a regular file"):
        options.check_file(tmp_path / "pipe")
