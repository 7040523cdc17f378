"""Constrained texts come as often as the rule says: step by step, among the ids that can still lead to a match."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.alphabet import Alphabet
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.constraints.automaton import Automaton
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.tables import Tables
from tests.support.reference.graphs import Graph, Row, constant_weights
from tests.support.reference.sampler import distribution

ALPHABET = Alphabet.of("abc")
LOGITS = np.array([0.3, 0.0, 1.0, -0.5])  # of the end and of three characters
LOG_PROBABILITIES = LOGITS - np.log(np.exp(LOGITS).sum())
SAMPLES = 20_000


def expected(automaton: Automaton, most: int, settings: SamplingSettings) -> dict[str, float]:
    """Returns the probability of each text of at most ``most`` characters."""
    found: defaultdict[str, float] = defaultdict(float)
    waiting = [("", 0, most - automaton.shortest, 1.0)]
    while waiting:
        text, state, slack, probability = waiting.pop()
        if len(text) == most:
            found[text] += probability
            continue
        weights = distribution(LOG_PROBABILITIES, settings, automaton.detours[state] > slack)
        for id_, weight in enumerate(weights / weights.sum()):
            if weight == 0:
                continue
            if id_ == 0:
                found[text] += probability * weight
                continue
            after = int(automaton.transitions[state, id_])
            left = slack - int(automaton.detours[state, id_])
            waiting.append((text + ALPHABET.symbol(id_), after, left, probability * weight))
    return found


def sampled(automaton: Automaton, most: int, settings: SamplingSettings) -> list[str]:
    """Returns texts of the graph."""
    graph = Graph(constant_weights(LOGITS.tolist()))
    stack, first = Tables(ALPHABET).stack(np.array([automaton, None], np.object_)[:1])
    assert first is not None
    row = Row(settings, automaton_state=int(first[0]), slack=most - automaton.shortest)
    draws: NDArray[np.float32] = np.random.default_rng(1).random((most, SAMPLES), np.float32)
    ids = graph.run(
        [row] * SAMPLES,
        np.full(draws.shape, SAMPLE),
        draws,
        transitions=stack.transitions,
        detours=stack.detours,
    )["ids"]
    ends = np.where((ids == 0).any(axis=0), (ids == 0).argmax(axis=0), most)
    return ["".join(map(ALPHABET.symbol, one[:end].tolist())) for one, end in zip(ids.T, ends, strict=True)]


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(),
        SamplingSettings(temperature=0.6),
        SamplingSettings(top_k=2),
        SamplingSettings(top_p=0.7, bias=np.array([0, 1.5, 0, 0.5], np.float32)),
    ],
    ids=["plain", "temperature", "top_k", "top_p and bias"],
)
@pytest.mark.parametrize(("pattern", "most"), [("[ab]{1,3}", 3), ("(a|bb)*c", 4), (".*", 3), ("a|b.c|cc", 3)])
def test_texts_come_as_often_as_the_rule_says(pattern: str, most: int, settings: SamplingSettings) -> None:
    automaton = compile_regex(pattern, ALPHABET)
    probabilities = {text: one for text, one in expected(automaton, most, settings).items() if one > 0}
    counts = Counter(sampled(automaton, most, settings))
    assert counts.keys() <= probabilities.keys()
    assert sum(probabilities.values()) == pytest.approx(1)
    chi_square = sum((counts[text] - SAMPLES * one) ** 2 / (SAMPLES * one) for text, one in probabilities.items())
    degrees = len(probabilities) - 1
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees) + 4


def test_masking_step_by_step_is_not_the_same_as_conditioning_on_the_match() -> None:
    automaton = compile_regex("a|bb", Alphabet.of("ab"))
    graph = Graph(constant_weights([0, 0, 0]))  # the end, a and b are equally likely
    stack, first = Tables(Alphabet.of("ab")).stack(np.array([automaton, None], np.object_)[:1])
    assert first is not None
    row = Row(automaton_state=int(first[0]), slack=1)
    draws = np.random.default_rng(2).random((1, 10_000), np.float32)
    ids = graph.run(
        [row] * 10_000,
        np.full(draws.shape, SAMPLE),
        draws,
        transitions=stack.transitions,
        detours=stack.detours,
    )["ids"]
    # Of the texts that the model writes freely and that match, 1/9 to 1/27, three quarters are "a".
    assert (ids == 1).mean() == pytest.approx(1 / 2, abs=0.02)
