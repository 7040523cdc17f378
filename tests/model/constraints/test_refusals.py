"""Expressions that are refused: irregular, invalid or hostile ones, with a reason that a person understands."""

import pytest

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.work import MOST_WORK, ConstraintError, Work

ALPHABET = Alphabet.of("".join(map(chr, range(32, 127))))


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)b", "look-around at offset 1 is not served"),
        ("a(?!b).", "look-around at offset 1"),
        ("a(?<=a)b", "look-around at offset 1"),
        ("a(?<!b)b", "look-around at offset 1"),
        ("a(?!)", "look-around at offset 1"),
        (r"(a)[(?=]\1", "a back-reference at offset 8"),
        ("(?P<x>a)(?P=x)", "a back-reference at offset 8"),
        ("(a)?(?(1)b|c)", "a conditional group at offset 4"),
        ("x(?>a|b)", "an atomic group at offset 1"),
        ("xa*+", "a possessive quantifier at offset 2"),
        ("a{2}+", "a possessive quantifier at offset 1"),
        (r"\bcat", "a word boundary at offset 0"),
        (r"ca\Bt", "a word boundary at offset 2"),
    ],
)
def test_an_irregular_expression_is_refused_by_the_name_and_place_of_its_cause(pattern: str, reason: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        compile_regex(pattern, ALPHABET)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("ab(", "not a regular expression: missing ), unterminated subpattern at offset 2"),
        ("[", "not a regular expression: unterminated character set at offset 0"),
        ("a**", "not a regular expression: multiple repeat at offset 2"),
        ("a{99999999999}", "not a regular expression that can be read: the repetition number is too large"),
    ],
)
def test_an_invalid_expression_is_refused_with_the_reason_of_re(pattern: str, reason: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        compile_regex(pattern, ALPHABET)
    assert str(caught.value) == reason


HOSTILE = {
    "(a|b)*a(a|b){18}": "too large: its automaton",
    "((((a{9}){9}){9}){9}){9}": "too large: written out",
    "a{1,100000}": r"(the largest repetition is {1,100000} at offset 1)",
    "(x?){2000}": "too large: the states of the automaton",
    "((a?){40}){40}": "too large",
    "(" * 100 + ")" * 100: "groups are nested more than 64 deep at offset 64",
    "(((((a*)*)*)*)*b|.{300}){300}": "too large: written out",
    "(.*)(.*)(.*)[a-z]{1,200}a.{12}": "too large",
    "a" * 5000: "5000 characters; an expression has at most 4096",
    "".join(f"[{chr(200 + n)}-{chr(300 + n)}]?" for n in range(600)): "different sets",
}


@pytest.mark.parametrize("kind", ["characters", "bytes"])
@pytest.mark.parametrize(("pattern", "reason"), HOSTILE.items(), ids=[key[:20] for key in HOSTILE])
def test_a_hostile_expression_is_refused_before_it_takes_much_work(pattern: str, reason: str, kind: Kind) -> None:
    with pytest.raises(ConstraintError) as caught:
        compile_regex(pattern, ALPHABET if kind == "characters" else Alphabet.of("", "bytes"))
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


def test_an_expression_that_no_text_matches_is_refused() -> None:
    with pytest.raises(ConstraintError, match=r"^no text matches$"):
        compile_regex("a$b", ALPHABET)


def test_work_is_refused_beyond_its_bound_with_its_purpose() -> None:
    work = Work()
    work.spend(MOST_WORK, "the states")
    with pytest.raises(ConstraintError, match="too large: the states would take too long"):
        work.spend(1000, "the states")
