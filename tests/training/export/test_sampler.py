"""The sampler inside the graph: it agrees with the one in NumPy, and its edge cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextchar_model.batch import SAMPLE, SamplingSettings
from tests.support.reference.graphs import Graph, Row, Shape, constant_weights, everything, graph_of
from tests.support.reference.sampler import LAST_DRAW, distribution, inverse

SMALL: Shape = ("lstm", 66, 32, 100, 2)
LARGE: Shape = ("lstm", 1300, 8, 24, 1)
"""Draws its ids in columns."""

NUDGES = (-1e-5, 0, 1e-5)
"""Changes of a draw or a limit that may move it across the edge between two ids."""


@pytest.mark.parametrize("shape", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)], ids=str)
@settings(max_examples=60)
@given(
    temperature=st.one_of(st.just(0.0), st.floats(2**-4, 5, width=32)),
    top_k=st.integers(0, 70),
    top_p=st.one_of(st.just(1.0), st.floats(2**-10, 1, width=32)),
    min_p=st.one_of(st.just(0.0), st.floats(0, 1, width=32)),
    bias_seed=st.one_of(st.none(), st.integers(0, 9)),
    automaton=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_sampler_agrees_with_the_one_in_numpy(
    shape: Shape,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    bias_seed: int | None,
    automaton: bool,
    seed: int,
) -> None:
    B = 64
    graph = graph_of(shape, "fp32")
    bias = None if bias_seed is None else np.random.default_rng(bias_seed).normal(0, 3, graph.V).astype(np.float32)
    wanted = SamplingSettings(temperature, top_k, top_p, min_p, bias)
    transitions = np.zeros((2, graph.V), np.int32)
    transitions[1, ::3] = -1
    draws = np.random.default_rng(seed).random(B, np.float32)
    state = graph.random_state(B, seed)
    outputs = graph.run(
        [Row(wanted, automaton_state=int(automaton))] * B,
        np.full((1, B), SAMPLE),
        draws[None],
        state=state,
        transitions=transitions,
        alternatives=graph.V,
    )
    forbidden = transitions[int(automaton)] < 0
    given = everything(outputs, graph)[0]
    certain = 0
    # If a draw or a limit falls on the edge between two ids, a last bit decides, and both are right.
    limits = {(top_p * (1 + p), min(min_p * (1 + m), 1.0)) for p, m in itertools.product(NUDGES, repeat=2)}
    for row in range(B):
        distributions = [
            distribution(given[row], SamplingSettings(temperature, top_k, *limit, bias), forbidden) for limit in limits
        ]
        right = {
            inverse(probabilities, min(max(float(draws[row]) + u, 0.0), LAST_DRAW))
            for probabilities in distributions
            for u in NUDGES
        }
        certain += len(right) == 1
        assert outputs["ids"][0, row] in right
    assert certain > B * 0.9


def test_min_p_is_applied_first_then_top_k_and_then_top_p_to_the_rest() -> None:
    # min_p keeps three of the four, then top_k two, which have 0.7 together; 0.55 of that is within the first.
    graph = Graph(constant_weights(np.log([0.4, 0.3, 0.2, 0.1]).tolist()))
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(min_p=0.4), draws)) == {0, 1, 2}
    assert set(graph.sample(SamplingSettings(min_p=0.4, top_k=2), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(min_p=0.4, top_k=2, top_p=0.55), draws)) == {0}
    assert set(graph.sample(SamplingSettings(top_p=0.55), draws)) == {0, 1}


def test_min_p_and_top_p_are_applied_after_temperature() -> None:
    graph = Graph(constant_weights(np.log([0.6, 0.3, 0.1]).tolist()))
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(min_p=0.3), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(min_p=0.3, temperature=2.0), draws)) == {0, 1, 2}
    assert set(graph.sample(SamplingSettings(top_p=0.5), draws)) == {0}
    assert set(graph.sample(SamplingSettings(top_p=0.5, temperature=2.0), draws)) == {0, 1}


def test_a_small_alphabet_is_drawn_from_in_the_order_of_ids() -> None:
    graph = Graph(constant_weights(np.log([0.1, 0.2, 0.3, 0.4]).tolist()))
    assert graph.sample(SamplingSettings(), [0.05, 0.15, 0.29, 0.31, 0.59, 0.61, 0.99]) == [0, 1, 1, 2, 2, 3, 3]


def test_a_large_alphabet_is_drawn_from_column_by_column() -> None:
    V = 1300
    logits = np.full(V, -500.0)  # whose probability is 0 in float32
    chosen = [3, 128, 131, 1279, 1297]  # in column, row: (3, 0), (0, 1), (3, 1), (127, 9), (17, 10)
    logits[chosen] = np.log([0.1, 0.2, 0.3, 0.1, 0.3])
    graph = Graph(constant_weights(logits.tolist()))
    draws = [0.0, 0.19, 0.21, 0.29, 0.31, 0.59, 0.61, 0.89, 0.91, LAST_DRAW]
    assert graph.sample(SamplingSettings(), draws) == [128, 128, 3, 3, 131, 131, 1297, 1297, 1279, 1279]


@pytest.mark.parametrize("mate", [SamplingSettings(), SamplingSettings(top_k=2)])
def test_forced_ids_of_a_large_alphabet_are_taken_unchanged(mate: SamplingSettings) -> None:
    V = 1300
    graph = Graph(constant_weights([-500.0] * 5 + [0.0] * (V - 5)))
    ids = np.array([[0, 1299], [700, 1], [128, 127]])
    outputs = graph.run([Row(), Row(mate)], ids, np.full(ids.shape, LAST_DRAW, np.float32))
    assert outputs["ids"].tolist() == ids.tolist()


@pytest.mark.parametrize("wanted", [SamplingSettings(), SamplingSettings(top_p=0.9), SamplingSettings(top_k=700)])
@pytest.mark.slow
def test_a_large_alphabet_never_yields_an_id_of_probability_zero(wanted: SamplingSettings) -> None:
    random_ = np.random.default_rng(0)
    logits = np.where(random_.random(1300) < 0.5, -500.0, random_.normal(0, 3, 1300))
    graph = Graph(constant_weights(logits.tolist()))
    draws = [*np.linspace(0, LAST_DRAW, 4000, dtype=np.float32).tolist(), LAST_DRAW]
    assert (logits[graph.sample(wanted, draws)] > -500).all()


def test_truncation_keeps_the_order_of_ids() -> None:
    graph = Graph(constant_weights(np.log([0.1, 0.2, 0.3, 0.4]).tolist()))
    assert graph.sample(SamplingSettings(top_k=3), [0.0, 0.21, 0.23, 0.54, 0.56]) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("draw", [0.0, 0.5, LAST_DRAW])
@pytest.mark.parametrize("temperature", [0.0, -0.0])
def test_temperature_zero_takes_the_lowest_of_the_likeliest_ids(temperature: float, draw: float) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    assert graph.sample(SamplingSettings(temperature=temperature), [draw]) == [2]


@pytest.mark.parametrize(
    "mate", [SamplingSettings(), SamplingSettings(top_k=2), SamplingSettings(bias=np.ones(6, np.float32))]
)
def test_temperature_zero_takes_the_lowest_of_the_likeliest_ids_beside_any_row(mate: SamplingSettings) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    rows = [Row(SamplingSettings(temperature=0.0)), Row(mate)]
    assert graph.run(rows, np.full((1, 2), SAMPLE), np.full((1, 2), 0.9, np.float32))["ids"][0, 0] == 2


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-20])
def test_tiny_temperatures_take_one_of_the_likeliest_ids(temperature: float) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    assert graph.sample(SamplingSettings(temperature=temperature), [0.1, 0.5, 0.9]) == [2, 3, 5]


def test_top_k_one_is_greedy() -> None:
    graph = graph_of(SMALL, "fp32")
    draws = np.random.default_rng(0).random((200, 2), np.float32)
    rows = [Row(SamplingSettings(top_k=1)), Row(SamplingSettings(temperature=0.0))]
    ids = graph.run(rows, np.full((200, 2), SAMPLE), draws)["ids"]
    assert ids[:, 0].tolist() == ids[:, 1].tolist()


def test_top_k_keeps_the_lowest_ids_among_equals() -> None:
    graph = Graph(constant_weights([1, 3, 3, 3, 0]))
    assert set(graph.sample(SamplingSettings(top_k=2), [0.0, 0.3, 0.6, LAST_DRAW])) == {1, 2}


def test_top_k_beyond_the_alphabet_keeps_every_id() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    assert graph.sample(SamplingSettings(top_k=2**32 - 1), [0.1, 0.5, 0.9]) == [0, 1, 2]


@pytest.mark.parametrize("top_k", [0, 1])
@pytest.mark.parametrize("top_p", [1e-45, 1e-38, 1e-6])
def test_a_tiny_top_p_keeps_the_likeliest_id(top_p: float, top_k: int) -> None:
    graph = Graph(constant_weights([0, 0.1, 0.2, 0.1]))
    assert set(graph.sample(SamplingSettings(top_p=top_p, top_k=top_k), [0.0, 0.5, LAST_DRAW])) == {2}


def test_top_p_keeps_the_fewest_ids_that_reach_it() -> None:
    graph = Graph(constant_weights([0, 0, 0, 0]))  # a quarter each, exactly
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(top_p=0.5), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(top_p=0.51), draws)) == {0, 1, 2}


LOGITS = st.lists(st.sampled_from([-500.0, -3.0, -1.0, -0.999999, 0.0, 0.5, 2.0, 2.0000002]), min_size=66, max_size=66)
"""Of few values, so that many ids are equally likely, or nearly."""


@settings(max_examples=60, deadline=None)
@given(
    logits=LOGITS,
    top_p=st.one_of(st.sampled_from([0.5, 1 - 2**-24, 2**-20]), st.floats(2**-10, 1, width=32)),
    min_p=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_row_alone_that_is_sorted_draws_as_many_rows_that_are_searched(
    logits: list[float], top_p: float, min_p: float, seed: int
) -> None:
    wanted = SamplingSettings(top_p=top_p, min_p=min_p, bias=np.array(logits, np.float32))
    graph = Graph(constant_weights([0.0] * 66))
    draws = np.random.default_rng(seed).random((8, 40), np.float32)
    forced = np.full(draws.shape, SAMPLE)
    searched = graph.run([Row(wanted)] * 40, forced, draws)["ids"]
    alone = [graph.run([Row(wanted)], forced[:, :1], np.ascontiguousarray(draws[:, [row]]))["ids"] for row in range(40)]
    assert searched.tolist() == np.hstack(alone).tolist()


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("equals", [2, 3, 66])
def test_of_equally_likely_ids_top_p_keeps_the_lowest_however_many_rows_there_are(equals: int, rows: int) -> None:
    graph = Graph(constant_weights([0.0] * equals + [-500.0] * (66 - equals)))
    draws = np.tile(np.linspace(0, LAST_DRAW, 200, dtype=np.float32)[:, None], (1, rows))
    ids = graph.run([Row(SamplingSettings(top_p=0.5))] * rows, np.full(draws.shape, SAMPLE), draws)["ids"]
    assert np.unique(ids).tolist() == list(range(-(-equals // 2)))


def test_rows_that_truncate_in_different_ways_draw_as_they_do_alone() -> None:
    graph = graph_of(SMALL, "fp32")
    ways = [
        SamplingSettings(),
        SamplingSettings(top_p=0.9),
        SamplingSettings(top_p=0.3, temperature=2.0),
        SamplingSettings(min_p=0.1),
        SamplingSettings(min_p=0.05, top_p=0.8),
        SamplingSettings(top_k=5),
        SamplingSettings(top_k=7, top_p=0.7),
    ]
    draws = np.random.default_rng(0).random((50, 70), np.float32)
    forced = np.full(draws.shape, SAMPLE)
    for kinds in (ways[:5], ways):
        rows = [Row(kinds[row % len(kinds)]) for row in range(70)]
        together = graph.run(rows, forced, draws)["ids"]
        alone = [graph.run([row], forced[:, :1], draws[:, [n]].copy())["ids"] for n, row in enumerate(rows)]
        assert together.tolist() == np.hstack(alone).tolist()


def test_min_p_one_keeps_only_the_likeliest_ids() -> None:
    graph = Graph(constant_weights([0, 0.1, 0.2, 0.2]))
    assert set(graph.sample(SamplingSettings(min_p=1.0), [0.0, 0.5, LAST_DRAW])) == {2, 3}


@pytest.mark.parametrize(
    "wanted",
    [SamplingSettings(), SamplingSettings(top_k=3), SamplingSettings(top_p=0.99), SamplingSettings(temperature=2.0)],
)
def test_the_smallest_and_the_largest_draw_never_yield_an_id_of_probability_zero(wanted: SamplingSettings) -> None:
    graph = Graph(constant_weights([-500, -500, 1, 0, 1, -500]))  # the probability of -500 is 0 in float32
    assert graph.sample(wanted, [0.0, LAST_DRAW]) == [2, 4]


@settings(max_examples=100)
@given(st.lists(st.floats(-30, 30, width=32), min_size=66, max_size=66))
@pytest.mark.slow
def test_the_largest_draw_stays_within_the_alphabet(bias: list[float]) -> None:
    graph = graph_of(SMALL, "fp32")
    given = np.array(bias, np.float32)
    for wanted in (
        SamplingSettings(bias=given),
        SamplingSettings(bias=given, top_p=0.9),
        SamplingSettings(bias=given, top_k=5),
    ):
        (id_,) = graph.sample(wanted, [LAST_DRAW])
        assert 0 <= id_ < graph.V


def test_a_bias_of_minus_100_keeps_an_id_from_being_sampled() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    bias = np.array([0, -100, 0], np.float32)
    draws = np.linspace(0, LAST_DRAW, 51, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(bias=bias), draws)) == {0, 2}


@pytest.mark.parametrize(
    "wanted", [SamplingSettings(temperature=0.1, top_k=1), SamplingSettings(bias=np.ones(3, np.float32) * 9)]
)
def test_log_probabilities_ignore_temperature_bias_and_truncation(wanted: SamplingSettings) -> None:
    expected = np.log([0.2, 0.5, 0.3])
    graph = Graph(constant_weights((expected + 5).tolist()))
    outputs = graph.run([Row(wanted)], np.array([[2]]), np.zeros((1, 1), np.float32), alternatives=3)
    np.testing.assert_allclose(outputs["logprob"][0, 0], expected[2], rtol=1e-6)
    np.testing.assert_allclose(everything(outputs, graph)[0, 0], expected, rtol=1e-6)


def test_alternatives_are_ordered_by_probability_then_by_id() -> None:
    graph = Graph(constant_weights([0, 2, 1, 2]))
    outputs = graph.run([Row()], np.array([[0]]), np.zeros((1, 1), np.float32), alternatives=3)
    assert outputs["top_ids"][0, 0].tolist() == [1, 3, 2]
