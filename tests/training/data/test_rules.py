"""How a corpus becomes a dataset: options, their ranges, and how they override the rules of a model."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nextchar_cli.command_line import make_app, run
from nextchar_cli.wording import explain
from nextchar_training.data.rules import Rules, changed, stated, to_state


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minimum_count": 0}, ("minimum_count", "0 is invalid; it must be at least 1")),
        ({"replacement": "ab"}, ("replacement", "'ab' is not one character")),
        ({"replacement": "e\u0301"}, ("replacement", "'e\u0301' is not one character")),
        ({"documents": "page"}, ("documents", "'page' is invalid; it must be 'corpus', 'file' or 'line'")),
        ({"lines": True}, ("lines", "True is invalid; there is no such field")),
        (
            {"documents": "line", "rare": "replace", "replacement": "\n"},
            ("", "a newline can't replace characters if it ends a document: give another --replacement"),
        ),
    ],
)
def test_invalid_rules_are_named(fields: dict[str, Any], message: tuple[str, str]) -> None:
    with pytest.raises(ValidationError) as raised:
        Rules(**fields)
    assert explain(raised.value) == message


@pytest.mark.parametrize(
    "rules", [Rules(), Rules(documents="line", alphabet="jamo", minimum_count=2, development=True)]
)
def test_rules_come_back_from_what_a_file_states(rules: Rules) -> None:
    assert Rules(**stated(to_state(rules))) == rules


def test_a_file_states_no_rule_that_it_does_not_need() -> None:
    assert to_state(Rules(documents="line")) == {"documents": "line", "verbatim": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Rules(documents="line", minimum_count=5)),
        (Rules(), Rules(documents="line", minimum_count=5)),
        (Rules(minimum_count=1), Rules(documents="line")),
        (Rules(documents="file", hold_out="tail"), Rules(documents="file", hold_out="tail", minimum_count=5)),
    ],
)
def test_only_given_fields_override_even_if_they_are_the_defaults(given: Rules | None, expected: Rules) -> None:
    assert changed(Rules(documents="line", minimum_count=5), given) == expected


def test_a_replacement_needs_rare_characters_to_be_replaced() -> None:
    assert changed(Rules(rare="replace"), Rules(replacement="?")).replacement == "?"
    with pytest.raises(ValueError, match=r"^--replacement needs --rare replace$"):
        changed(Rules(), Rules(replacement="?"))


def test_rules_that_become_contradictory_are_refused() -> None:
    with pytest.raises(ValueError, match="a newline can't replace characters if it ends a document"):
        changed(Rules(rare="replace", replacement="\n"), Rules(documents="line"))


def command(*arguments: str) -> int:
    app = make_app("thing", "Does a thing.")

    @app.default
    def read(*, rules: Rules | None = None) -> None:
        print(changed(Rules(minimum_count=7), rules))

    return run(app, arguments)


def test_an_option_that_is_out_of_range_is_one_line_that_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--minimum-count", "0") == 2
    message = "thing: error: --minimum-count: '0' is invalid; it must be at least 1 (see thing --help)\n"
    assert capsys.readouterr() == ("", message)


def test_options_are_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--documents", "file", "--skip-undecodable") == 0
    assert capsys.readouterr().out == f"{Rules(minimum_count=7, documents='file', skip_undecodable=True)}\n"


def test_help_describes_every_option_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "How the corpus is read",
        "--alphabet CHOICE Spell a character by itself, by its decomposition",
        "[choices: corpus, file, line] [default: corpus]",
        "--minimum-count INT Characters that occur fewer times than this are rare. [default: 1]",
        "with --rare replace (usually U+FFFD).",
        "--skip-undecodable Leave out files that are not UTF-8.",
    ):
        assert part in shown
