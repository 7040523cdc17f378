"""The complaint of a command that is used wrongly: one line that names the option or the variable."""

from __future__ import annotations

from typing import Annotated, Literal

import annotated_types as at
import pytest
from cyclopts import App, Parameter
from cyclopts.config import Env
from pydantic.dataclasses import dataclass

from nextchar_cli.command_line import UsageError, make_app, run


@Parameter(name="*")
@dataclass(frozen=True)
class Sizes:
    """Sizes of something."""

    lanes: Annotated[int, at.Ge(1)] = 2
    """Number of lanes."""
    share: Annotated[float, at.Ge(0), at.Lt(1)] = 0.5
    """A part of the whole."""
    kind: Literal["int8", "fp32"] = "int8"
    """Precision."""

    def __post_init__(self) -> None:
        if self.lanes == 13:
            raise ValueError("13 lanes with this share are too many")


def app() -> App:
    app = make_app("thing", "Does a thing.", exit_codes="exit codes: 0 done", readers=[Env("THING_", command=False)])

    @app.command
    def make(
        name: str,
        /,
        *,
        sizes: Sizes | None = None,
        count: int = 1,
        fast: bool = False,
        half: float | None = None,
        colours: list[Literal["red", "blue"]] | None = None,
    ) -> int:
        """Make a thing.

        Parameters
        ----------
        name:
            What it is called.
        count:
            How many.
        colours:
            Its colours.
        half:
            A half of it.
        """
        if fast and count > 1:
            raise UsageError("--fast makes one thing: leave out --count")
        print(name, sizes or Sizes(), count)
        return 3 if name == "odd" else 0

    return app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("make x --lanes 0", "--lanes: '0' is invalid; it must be at least 1 (see thing make --help)"),
        ("make x --lanes abc", "--lanes: 'abc' is invalid; it must be a whole number (see thing make --help)"),
        ("make x --lanes 1.5", "--lanes: '1.5' is invalid; it must be a whole number (see thing make --help)"),
        ("make x --lanes", "--lanes needs a value (see thing make --help)"),
        ("make x --lanes 13", "13 lanes with this share are too many (see thing make --help)"),
        ("make x --share 1", "--share: '1' is invalid; it must be below 1 (see thing make --help)"),
        ("make x --share nan", "--share: 'nan' is invalid; it must be below 1 (see thing make --help)"),
        ("make x --kind int4", "--kind: 'int4' is invalid; it must be 'int8' or 'fp32' (see thing make --help)"),
        (
            "make x --colours red --colours 3",
            "--colours: '3' is invalid; it must be red or blue (see thing make --help)",
        ),
        ("make x --count abc", "--count: 'abc' is invalid; it must be a whole number (see thing make --help)"),
        ("make x --count 2.5", "--count: '2.5' is invalid; it must be a whole number (see thing make --help)"),
        ("make x --count 0x2", "--count: '0x2' is invalid; it must be a whole number (see thing make --help)"),
        ("make x --count ٢", "--count: '٢' is invalid; it must be a whole number (see thing make --help)"),
        (
            f"make x --count {'9' * 5000}",
            f"--count: '{'9' * 59}… is invalid; it must be a whole number (see thing make --help)",
        ),
        ("make x y", "unexpected argument 'y' (see thing make --help)"),
        ("make x -- -y", "unexpected argument '-y' (see thing make --help)"),
        ("make x -", "unexpected argument '-' (see thing make --help)"),
        ("make x --half abc", "--half: 'abc' is invalid; it must be a number (see thing make --help)"),
        ("make x --fast=5", "--fast: '5' is invalid; it must be true or false (see thing make --help)"),
        ("make -x", "unknown option: -x. Put -- before an argument that starts with a dash (see thing make --help)"),
        ("make", "NAME is required (see thing make --help)"),
        ("make x --fast --count 2", "--fast makes one thing: leave out --count (see thing make --help)"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app(), arguments.split()) == 2
    assert capsys.readouterr() == ("", f"thing: error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["make", "-", "--count", "2"], "-"),
        (["make", "--count", "2", "-"], "-"),
        (["make", "--count=2", "- milk"], "- milk"),
        (["make", "- milk = white", "--count", "2"], "- milk = white"),
        (["make", "--count", "2", "--", "-x"], "-x"),
    ],
)
def test_a_dash_alone_or_with_a_space_is_text(
    arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app(), arguments) == 0
    assert capsys.readouterr() == (f"{name} {Sizes()} 2\n", "")


def test_a_variable_is_named_when_the_variable_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THING_LANES", "abc")
    assert run(app(), ["make", "x"]) == 2
    message = "THING_LANES: 'abc' is invalid; it must be a whole number (see thing make --help)"
    assert capsys.readouterr().err == f"thing: error: {message}\n"


@pytest.mark.parametrize(("arguments", "hint"), [(["mak"], "make"), (["make", "x", "--lane", "3"], "--lanes")])
def test_a_misspelt_name_gets_a_suggestion(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app(), arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("thing: error: unknown ")
    assert hint in line


def test_of_an_option_given_twice_the_last_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app(), ["make", "x", "--count", "1", "--lanes", "3", "--count", "2", "--lanes", "4"]) == 0
    assert capsys.readouterr().out == "x Sizes(lanes=4, share=0.5, kind='int8') 2\n"


def test_without_a_command_the_line_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app(), []) == 2
    assert capsys.readouterr().err == "thing: error: a command is required: make (see thing --help)\n"


def test_the_command_chooses_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert (run(app(), ["make", "odd"]), run(app(), ["make", "even"])) == (3, 0)


def test_help_shows_defaults_choices_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app(), ["make", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Number of lanes." in shown
    assert "[default: 2]" in shown
    assert "[choices: int8, fp32]" in shown
    assert "exit codes: 0 done" in shown
