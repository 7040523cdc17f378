"""Regular expressions: the automaton accepts the texts that ``re.fullmatch`` matches, and no others."""

import re
import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import FORBIDDEN
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.work import ConstraintError
from tests.support.automata import accepts

SYMBOLS = "abA\nk"
ALPHABET = Alphabet.of(SYMBOLS + "BK7 _")
TEXTS = ["".join(one) for count in range(4) for one in product(SYMBOLS, repeat=count)]

elements = st.sampled_from(
    [
        "a",
        "b",
        "A",
        r"\n",
        "k",
        "K",
        "\u017f",
        ".",
        r"\w",
        r"\d",
        r"\s",
        r"\W",
        "[ab]",
        "[^a]",
        "[A-b]",
        r"[^\w\n]",
        "[a-k\\n]",
    ]
)
anchors = st.sampled_from(["^", "$", r"\A", r"\Z"])
quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,3}", "{,2}", "{2,}", "*?", "+?", "??", "{1,2}?"])
groups = st.sampled_from(["(", "(?:", "(?i:", "(?s:", "(?m:", "(?-i:", "(?a:", "(?ims:", "(?P<name>"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, quantifiers).map(lambda one: f"(?:{one[0]}){one[1]}"),
        st.tuples(groups, inner).map(lambda one: f"{one[0]}{one[1]})"),
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
    )


patterns = st.tuples(
    st.sampled_from(["", "(?i)", "(?m)", "(?s)", "(?x)"]), st.recursive(elements | anchors, larger, max_leaves=8)
).map("".join)


def compiled(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(pattern)
        except re.error:  # one name twice
            return None


@given(patterns)
@settings(max_examples=80)
@example(r"(?:a|$)*\n?")
@example(r"(?m)(?:^a$\n?)*")
@example(r"(?:a?){3}")
@example(r"(?i)[^k]\u017f?")
@example(r"")
def test_an_expression_accepts_the_texts_that_re_matches(pattern: str) -> None:
    reference = compiled(pattern)
    if reference is None:
        return
    expected = [reference.fullmatch(text) is not None for text in TEXTS]
    try:
        automaton = compile_regex(pattern, ALPHABET)
    except ConstraintError:
        assert not any(expected)
        return
    assert [accepts(automaton, ALPHABET.encode(text).tolist()) for text in TEXTS] == expected


@given(patterns)
@settings(max_examples=30)
def test_no_state_is_a_dead_end_and_its_distance_is_that_of_the_nearest_match(pattern: str) -> None:
    try:
        automaton = compile_regex(pattern, ALPHABET)
    except ConstraintError:
        return
    after = np.where(automaton.transitions[:, 1:] < 0, FORBIDDEN, automaton.distance[automaton.transitions[:, 1:]] + 1)
    expected = np.where(automaton.accepts, 0, after.min(axis=1))
    assert (automaton.distance == expected).all()
    assert (automaton.distance < FORBIDDEN).all()
    assert (automaton.accepts == (automaton.transitions[:, 0] == np.arange(len(automaton)))).all()


@pytest.mark.parametrize(
    ("pattern", "states"),
    [("a*", 1), ("(a|b)*b", 2), ("(aa|ab|ba|bb)", 3), ("a{3}|b{3}", 6), ("(a|b)*a(a|b){5}", 64), ("(a?b?){2}", 5)],
)
def test_an_automaton_is_minimal(pattern: str, states: int) -> None:
    assert len(compile_regex(pattern, Alphabet.of("ab"))) == states


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
        r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}",
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ],
    ids=["date", "IPv4 address", "UUID"],
)
def test_random_walks_match(pattern: str) -> None:
    alphabet = Alphabet.of("0123456789abcdef-.: ")
    automaton = compile_regex(pattern, alphabet)
    random = np.random.default_rng(0)
    for _ in range(50):
        state, text = 0, ""
        while not (automaton.accepts[state] and random.random() < 0.5):
            following = np.flatnonzero(automaton.transitions[state, 1:] >= 0)
            if not len(following):
                break
            id_ = int(random.choice(following)) + 1
            text, state = text + alphabet.symbol(id_), int(automaton.transitions[state, id_])
        assert re.fullmatch(pattern, text)
