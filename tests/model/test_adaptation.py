"""Adaptation: an n-gram model of the text so far, and its mixture with a network."""

from __future__ import annotations

import math

import pytest

from nextchar_model import adaptation
from nextchar_model.adaptation import Adaptive, Ngram

ALPHABET = "abcde\0"
TEXT = "abacabadabacabae" * 20 + "eee" + "edcba" * 7
NETWORK = dict(zip(ALPHABET, (0.4, 0.3, 0.1, 0.1, 0.05, 0.05), strict=True))


def sums(model: Ngram, text: str) -> list[float]:
    """The sum of the probabilities of the alphabet before each character of ``text``, and at its end."""
    found = []
    for symbol in [*text, ""]:
        found.append(sum(model.probability(other)[0] for other in ALPHABET))
        if symbol:
            model.read(symbol)
    return found


def test_the_probabilities_of_an_ngram_add_up_to_one_before_every_character() -> None:
    assert sums(Ngram(len(ALPHABET)), TEXT) == pytest.approx([1] * (len(TEXT) + 1), abs=1e-12)


def test_they_do_so_when_counts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "MOST_NGRAMS", 40)
    model = Ngram(len(ALPHABET))
    assert sums(model, TEXT) == pytest.approx([1] * (len(TEXT) + 1), abs=1e-12)


def test_an_ngram_model_never_counts_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "MOST_NGRAMS", 40)
    model = Ngram(len(ALPHABET))
    for symbol in TEXT:
        model.read(symbol)
        assert len(model._counts) <= 40


def test_the_probabilities_of_the_mixture_add_up_to_one() -> None:
    totals = []
    for length in (0, 1, 40, len(TEXT)):
        total = 0.0
        for symbol in ALPHABET:
            model = Adaptive(len(ALPHABET))
            for read in TEXT[:length]:
                model.logprob(read, math.log(NETWORK[read]))
            total += math.exp(model.logprob(symbol, math.log(NETWORK[symbol])))
        totals.append(total)
    assert totals == pytest.approx([1] * 4, abs=1e-12)


def test_what_the_network_keeps_for_the_end_of_a_text_only_makes_the_sum_smaller() -> None:
    model = Adaptive(6)
    assert math.exp(model.logprob("a", -math.inf)) < 1 / 6


def test_a_text_that_repeats_itself_costs_less() -> None:
    model = Adaptive(len(ALPHABET))
    nats = [-sum(model.logprob(symbol, math.log(1 / 6)) for symbol in "abcdeabdecba") for _ in range(6)]
    assert nats[-1] < nats[0] / 3


def test_a_learnt_text_is_expected_from_its_beginning() -> None:
    model = Adaptive(len(ALPHABET))
    model.learn("badcab" * 3)
    assert math.exp(model.logprob("b", math.log(1 / 6))) > 1 / 4


def test_a_repeated_context_follows_kneser_and_ney() -> None:
    model = Ngram(2)
    for symbol in "ab":
        model.read(symbol)
    # Contexts: empty (a, b), "\0" (a), "\0a" (b), "a" (b). Then "a" after "\0ab": only the empty context is known.
    probability, founded = model.probability("a")
    assert probability == pytest.approx((1 - 0.75 + 0.75 * 2 / 2) / 2)
    assert founded == (0, 2, False)
