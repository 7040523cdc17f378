"""The search for completions against brute force, in tiny languages."""

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind
from nextchar_model.constraints.boundaries import (
    line_boundary,
    match_boundary,
    text_boundary,
    word_boundary,
)
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.decoder import continuing, decode
from nextchar_server.engine.tree import Wanted
from tests.support.languages import Completions, Language, likeliest

LETTERS = "ab \n."
SEEDS = st.integers(0, 10**6)
COUNTS = st.integers(1, 8)
NO_END = np.where(np.arange(28) == BOUNDARY, -np.inf, 0.0)
EXAMPLES = settings(max_examples=15)


def assert_equal(found: Completions, expected: Completions, tolerance: float = 1e-9) -> None:
    assert list(found) == list(expected)
    assert list(found.values()) == pytest.approx(list(expected.values()), abs=tolerance)


@given(SEEDS, COUNTS, st.integers(1, 4))
@EXAMPLES
def test_words_are_the_likeliest_ones(seed: int, count: int, most: int) -> None:
    language = Language.of(Alphabet.of(LETTERS), seed)
    found, is_exact = language.search(Wanted(word_boundary(language.alphabet), most, False, count))
    assert is_exact
    assert_equal(found, likeliest(language.words(most), count))


@given(SEEDS, COUNTS, st.integers(1, 4))
@EXAMPLES
def test_lines_are_the_likeliest_ones_and_may_be_empty(seed: int, count: int, most: int) -> None:
    language = Language.of(Alphabet.of(LETTERS), seed)
    expected: dict[str, float] = {}
    (newline,) = language.alphabet.encode("\n").tolist()
    for ids, probability in language.texts(most):
        text = decode(language.alphabet, ids)
        if "\n" not in text:
            ends = language.end(ids) + np.exp(language.logprobs[ids[-1] if ids else BOUNDARY, newline])
            expected[text] = float(np.log(probability * ends))
    found, is_exact = language.search(Wanted(line_boundary(language.alphabet), most, False, count))
    assert is_exact
    assert_equal(found, likeliest(expected, count))


@given(SEEDS, COUNTS, st.integers(1, 3))
@EXAMPLES
def test_a_number_of_characters_or_the_documents_end_is_a_boundary(seed: int, count: int, most: int) -> None:
    language = Language.of(Alphabet.of(LETTERS), seed)
    expected = {
        decode(language.alphabet, ids): float(np.log(probability * (1.0 if len(ids) == most else language.end(ids))))
        for ids, probability in language.texts(most)
    }
    found, is_exact = language.search(Wanted(text_boundary(language.alphabet), most, True, count))
    assert is_exact
    assert_equal(found, likeliest(expected, count))


@pytest.mark.parametrize("pattern", ["a*b", "(ab|ba)+", r"[ab]{2} ?b", "a?"])
@given(SEEDS, COUNTS)
@EXAMPLES
def test_matches_of_an_expression_are_the_likeliest_ones(pattern: str, seed: int, count: int) -> None:
    language = Language.of(Alphabet.of(LETTERS), seed)
    expected = {
        text: float(np.log(probability))
        for ids, probability in language.texts(4)
        if re.fullmatch(pattern, text := decode(language.alphabet, ids))
    }
    boundary = match_boundary(compile_regex(pattern, language.alphabet), language.alphabet)
    found, is_exact = language.search(Wanted(boundary, 4, False, count))
    assert is_exact
    assert_equal(found, likeliest(expected, count))


SPELLED: dict[Kind, str] = {"jamo": "가각 é.", "bytes": "aé Ⱡ—"}
"""Texts whose symbols begin alike, although one is of a word and the other isn't: in bytes, Ⱡ and —."""

boundary_of = cache(word_boundary)


@pytest.mark.parametrize("kind", list(SPELLED))
@given(SEEDS, COUNTS)
@settings(max_examples=8)
def test_words_of_several_ids_a_character_are_the_likeliest_ones(kind: Kind, seed: int, count: int) -> None:
    text = SPELLED[kind]
    alphabet = Alphabet.of(text, kind)
    language = Language.of(alphabet, seed, text.encode() if kind == "bytes" else text)
    found, is_exact = language.search(Wanted(boundary_of(alphabet), 1, False, count))
    assert is_exact
    assert_equal(found, likeliest(language.words(1), count), 1e-3)


def test_a_character_of_jamo_ends_where_the_next_one_begins() -> None:
    alphabet = Alphabet.of("가각나", "jamo")
    language = Language.of(alphabet, 1)
    found, _ = language.search(Wanted(text_boundary(alphabet), 1, True, 20))
    begins = ~continuing(alphabet)
    ids = alphabet.encode("가").tolist()
    path = language.logprobs[BOUNDARY, ids[0]] + language.logprobs[ids[0], ids[1]]
    expected = path + np.log(np.exp(language.logprobs[ids[1], begins]).sum())
    assert found["가"] == pytest.approx(expected)
    assert {"가", "각", "나", "낙", ""} == set(found)


def test_a_search_of_long_texts_that_are_all_alike_stops_at_its_bound_with_completions_and_says_so() -> None:
    alphabet = Alphabet.of("".join(map(chr, range(0x61, 0x7B))) + " ")
    flat = Language(alphabet, np.log(np.full((alphabet.size, alphabet.size), 1 / 27)) + NO_END)
    found, is_exact = flat.search(Wanted(text_boundary(alphabet), 64, True, 20))
    assert not is_exact
    assert len(found) == 20
