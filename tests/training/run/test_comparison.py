import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from nextchar_training.data.rules import Rules
from nextchar_training.learning.recipe import Recipe
from nextchar_training.run.checkpoint import Checkpoint, save_checkpoint
from nextchar_training.run.comparison import losses_table, read_best, read_runs, settings_table
from nextchar_training.run.folder import RunFolder, RunFolderError
from tests.training.run.test_checkpoint import RECORD, make
from tests.training.run.test_ledger import row


def save(path: Path, recipe: Recipe | None, rules: Rules | None = None) -> Path:
    """A run with one evaluation."""
    folder = RunFolder(path)
    folder.start()
    folder.add_losses(row(10, 1.5))
    rules = rules or RECORD.rules
    record = replace(RECORD, recipe=recipe, stateful_loss=1.375, windows_loss=1.625, rules=rules)
    save_checkpoint(replace(make(), record=record), folder.best)
    return path


def printed(table: RenderableType | None, width: int) -> list[str]:
    assert table is not None
    screen = io.StringIO()
    Console(file=screen, width=width, color_system=None).print(table)
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_runs_are_rows_that_fit_the_terminal(tmp_path: Path, width: int) -> None:
    paths = [save(tmp_path / name, Recipe(epochs=1)) for name in ("lstm-512-dropout-0.3", "gru-512-dropout-0.4")]
    lines = printed(losses_table(read_runs(paths), read_best(paths)), width)
    assert [line.split()[0] for line in lines[2:]] == ["lstm-512-dropout-0.3", "gru-512-dropout-0.4"]
    assert lines[2].split()[-2:] == ["1.3750", "1.6250"]


def test_losses_on_the_development_part_are_told_apart(tmp_path: Path) -> None:
    def heading(*names: str) -> list[str]:
        return printed(losses_table(read_runs([tmp_path / one for one in names]), best(*names)), 80)[:2]

    def best(*names: str) -> list[Checkpoint]:
        return read_best([tmp_path / one for one in names])

    for name, development in (("a", True), ("b", True), ("final", False)):
        save(tmp_path / name, Recipe(epochs=1), replace(RECORD.rules, development=development))
    assert heading("a", "b")[1] == "All of them are of the development part."
    assert heading("a", "b", "final")[1].startswith("Those of a, b are of the development part, and don't compare")
    assert heading("final")[1].startswith("run ")


def test_settings_that_differ_are_a_table_of_their_own(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a", Recipe(epochs=1)), save(tmp_path / "b", Recipe(epochs=1, dropout=0.5))]
    lines = printed(settings_table(read_runs(paths), read_best(paths)), 80)
    assert [line.split() for line in lines[1:]] == [["setting", "a", "b"], ["dropout", "0.3", "0.5"]]


def test_budgets_differ_in_words_and_the_epochs_in_all_are_those_of_the_losses(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a", Recipe(epochs=1)), save(tmp_path / "b", Recipe(minutes=10))]
    runs, best = read_runs(paths), read_best(paths)
    lines = printed(settings_table(runs, best), 80)
    assert [line.split("  ")[-1].strip() for line in lines[2:]] == ["10 minutes"]
    headings, *rows = (line.split() for line in printed(losses_table(runs, best), 80)[1:])
    assert [one[headings.index("epochs")] for one in rows] == ["0.1", "0.1"]


def test_setting_that_a_run_of_the_release_before_did_not_keep_is_unknown(tmp_path: Path) -> None:
    recipes = {"a": Recipe(epochs=1), "b": Recipe(epochs=1, dropout=0.5), "old": None}
    paths = [save(tmp_path / name, recipe) for name, recipe in recipes.items()]
    lines = printed(settings_table(read_runs(paths), read_best(paths)), 80)
    assert [line.split() for line in lines[2:]] == [["dropout", "0.3", "0.5", "?"]]


def test_runs_with_the_same_settings_have_no_table_of_them(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, Recipe(epochs=1)) for name in "ab"]
    assert settings_table(read_runs(paths), read_best(paths)) is None


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a", Recipe(epochs=1))
    with pytest.raises(RunFolderError, match="the same run is named twice"):
        read_runs([path, path / ".." / "a"])
