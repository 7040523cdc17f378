"""The automaton inside the graph: it restricts sampled ids, and follows them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.batch import SAMPLE, SamplingSettings
from tests.support.reference.graphs import Graph, Row, State, constant_weights
from tests.support.reference.sampler import LAST_DRAW


def table(*rows: list[int]) -> NDArray[np.int32]:
    return np.array(rows, np.int32)


def test_state_zero_allows_every_id() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    transitions = table([0, 0, 0], [-1, 1, -1])
    assert graph.sample(SamplingSettings(), [0.1, 0.5, 0.9], state=0, transitions=transitions) == [0, 1, 2]


@pytest.mark.parametrize(
    "wanted",
    [
        SamplingSettings(),
        SamplingSettings(temperature=0.0),
        SamplingSettings(temperature=100.0),
        SamplingSettings(top_k=1),
        SamplingSettings(top_p=1e-45),
        SamplingSettings(min_p=1.0),
        SamplingSettings(bias=np.array([100, -100, 0, 100], np.float32)),
    ],
    ids=["plain", "temperature 0", "temperature 100", "top_k", "top_p", "min_p", "bias"],
)
def test_a_row_never_samples_an_id_that_its_automaton_forbids(wanted: SamplingSettings) -> None:
    graph = Graph(constant_weights([9, 0, -2, 9]))  # the likeliest are forbidden
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    sampled = graph.sample(wanted, draws, state=1, transitions=table([0, 0, 0, 0], [-1, 1, 1, -1]))
    assert set(sampled) <= {1, 2}


def test_the_automaton_follows_its_table() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    # 1 → (id 1) → 2 → (id 2) → 3 → (id 0) → 1: each state allows a single id.
    transitions = table([0, 0, 0], [-1, 2, -1], [-1, -1, 3], [1, -1, -1])
    draws = np.random.default_rng(0).random((7, 1), np.float32)
    outputs = graph.run([Row(automaton_state=1)], np.full((7, 1), SAMPLE), draws, transitions=transitions)
    assert outputs["ids"][:, 0].tolist() == [1, 2, 0, 1, 2, 0, 1]
    assert outputs["new_automaton_state"].tolist() == [2]


def test_each_row_follows_its_own_automaton() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    transitions = table([0, 0, 0], [-1, 1, -1], [-1, -1, 2])
    draws = np.random.default_rng(0).random((5, 2), np.float32)
    rows = [Row(automaton_state=1), Row(automaton_state=2)]
    outputs = graph.run(rows, np.full((5, 2), SAMPLE), draws, transitions=transitions)
    assert outputs["ids"].T.tolist() == [[1] * 5, [2] * 5]
    assert outputs["new_automaton_state"].tolist() == [1, 2]


def test_a_forced_id_leaves_the_automaton_in_its_state() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    transitions = table([0, 0, 0], [-1, 2, -1], [-1, -1, 2])
    forced = np.array([[0], [2], [SAMPLE], [0]])  # forced ids may be ones that the automaton forbids
    outputs = graph.run([Row(automaton_state=1)], forced, np.full((4, 1), 0.5, np.float32), transitions=transitions)
    assert outputs["ids"][:, 0].tolist() == [0, 2, 1, 0]
    assert outputs["new_automaton_state"].tolist() == [2]


def test_a_row_never_takes_an_id_whose_detour_is_more_than_its_slack() -> None:
    graph = Graph(constant_weights([0, 5, 5]))
    # Ids 1 and 2 lengthen the way by one and two characters; id 0 leads on.
    transitions, detours = table([0, 0, 0], [1, 1, 1]), table([0, 0, 0], [0, 1, 2])
    draws = np.random.default_rng(0).random((40, 1), np.float32)
    outputs = graph.run(
        [Row(automaton_state=1, slack=6)], np.full((40, 1), SAMPLE), draws, transitions=transitions, detours=detours
    )
    ids = outputs["ids"][:, 0]
    assert ids.sum() in (6, 5)
    assert outputs["new_slack"].tolist() == [6 - ids.sum()]


@pytest.mark.parametrize("parts", [[40], [1, 39], [7, 7, 7, 19]], ids=str)
def test_the_slack_is_counted_down_across_calls(parts: list[int]) -> None:
    graph = Graph(constant_weights([0, 1, 2]))
    transitions, detours = table([0, 0, 0], [1, 1, 1]), table([0, 0, 0], [0, 1, 1])
    draws = np.random.default_rng(1).random((40, 1), np.float32)
    row, state, ids, start = Row(automaton_state=1, slack=9), None, [], 0
    for count in parts:
        outputs = graph.run(
            [row],
            np.full((count, 1), SAMPLE),
            draws[start : start + count],
            state=state,
            transitions=transitions,
            detours=detours,
        )
        start += count
        ids += outputs["ids"][:, 0].tolist()
        state = State(outputs["new_hidden"], outputs["new_cell"])
        row = Row(SamplingSettings(), ids[-1], int(outputs["new_automaton_state"][0]), int(outputs["new_slack"][0]))
    assert sum(map(bool, ids)) == 9
    whole = graph.run(
        [Row(automaton_state=1, slack=9)],
        np.full((40, 1), SAMPLE),
        draws,
        transitions=transitions,
        detours=detours,
    )
    assert ids == whole["ids"][:, 0].tolist()


def test_the_document_does_not_end_before_the_slack_is_small_enough() -> None:
    graph = Graph(constant_weights([9, 0, 0]))
    transitions, detours = table([0, 0, 0], [1, 1, 1]), table([0, 0, 0], [0, 1, 1])
    outputs = graph.run(
        [Row(SamplingSettings(temperature=0.0, ends_at=7), automaton_state=1, slack=10)],
        np.full((5, 1), SAMPLE),
        np.zeros((5, 1), np.float32),
        transitions=transitions,
        detours=detours,
    )
    assert outputs["ids"][:, 0].tolist() == [1, 1, 1, 0, 0]


def test_a_bias_of_minus_infinity_is_never_sampled() -> None:
    graph = Graph(constant_weights([50, 0, 0]))
    never = np.array([-np.inf, 0, 0], np.float32)
    for temperature in (0.0, 1.0, 100.0):
        draws = np.linspace(0, LAST_DRAW, 50, dtype=np.float32).tolist()
        assert 0 not in graph.sample(SamplingSettings(temperature=temperature, bias=never), draws)
