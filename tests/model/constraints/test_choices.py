"""Choices: an automaton of a list of texts, in every alphabet."""

import random

import pytest

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.constraints.choices import MOST_CHOICES, compile_choices
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.work import ConstraintError
from tests.support.automata import texts


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
@pytest.mark.parametrize("seed", range(5))
def test_an_automaton_accepts_the_choices_and_no_other_text(kind: Kind, seed: int) -> None:
    alphabet, random_ = Alphabet.of("aeé가각나낙", kind), random.Random(seed)
    choices = ["".join(random_.choices("aeé가각나낙", k=random_.randint(0, 4))) for _ in range(30)]
    expected = {tuple(alphabet.encode(choice).tolist()) for choice in choices}
    assert texts(compile_choices(choices, alphabet), alphabet, 4) == expected


def test_the_automaton_is_that_of_the_equal_expression() -> None:
    alphabet = Alphabet.of("abcde")
    choices = ["ace", "ade", "bce", "bde", "a", ""]
    by_list, by_regex = compile_choices(choices, alphabet), compile_regex("|".join(choices), alphabet)
    assert len(by_list) == len(by_regex)
    assert sorted(by_list.distance.tolist()) == sorted(by_regex.distance.tolist())


def test_choices_are_composed() -> None:
    alphabet = Alphabet.of("é")
    assert texts(compile_choices(["e\u0301"], alphabet), alphabet, 1) == {(1,)}


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ([], f"0 choices; there must be 1 to {MOST_CHOICES}"),
        (["a"] * (MOST_CHOICES + 1), f"{MOST_CHOICES + 1} choices"),
        (["a" * 2_000_001], "the choices have 2000001 characters"),
        (["ab", "a", "abc"], r"choice 2: the model's alphabet lacks 'c' \(U\+0063\)"),
        (["a", "\u0301b"], "choice 1 begins with '\u0301', which joins the character before it"),
    ],
)
def test_invalid_choices_are_refused_with_the_reason(choices: list[str], reason: str) -> None:
    with pytest.raises(ConstraintError, match=reason):
        compile_choices(choices, Alphabet.of("ab"))


def test_equal_endings_are_merged() -> None:
    names = [a + b + c for a in "abcdef" for b in "abcdef" for c in "abcdef"]
    assert len(compile_choices(names, Alphabet.of("abcdef"))) == 4
