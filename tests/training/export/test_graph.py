"""The graph: the network inside agrees with PyTorch and NumPy, rows keep their bits, the sampler samples right."""

import itertools
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextchar_model.alphabet import Alphabet
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.cell import Cell, Precision
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from tests.support.reference.cells import log_probabilities
from tests.support.reference.graphs import (
    Array,
    Graph,
    Row,
    State,
    constant_weights,
    everything,
    exact_in_int8,
    random_weights,
)
from tests.support.reference.sampler import distribution, inverse

LAST_DRAW = 1 - 2**-24
"""The largest random number there is."""


# The network: PyTorch, the fp32 graph and NumPy agree on real text.

TEXT = Path(random.__file__).read_text(encoding="utf-8")[1000:1300]
"""A piece of Python's own standard library."""

CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])

ARCHITECTURES = pytest.mark.parametrize(
    ("hidden_size", "layers"),
    [
        pytest.param(96, 1, id="one layer with a table"),
        pytest.param(96, 2, id="two layers with a table"),
        pytest.param(24, 1, id="one layer with an embedding"),
        pytest.param(24, 2, id="two layers with an embedding"),
    ],
)


class Trio:
    """One network in PyTorch, in the fp32 graph and in NumPy, each giving [T, B, V] log-probabilities."""

    def __init__(self, cell: Cell, hidden_size: int, layers: int) -> None:
        alphabet = Alphabet.of(TEXT)
        assert 24 < alphabet.size <= 96
        torch.manual_seed(1)
        torch.set_num_threads(1)
        self.network = Network(
            Architecture(
                alphabet_size=alphabet.size, hidden_size=hidden_size, layers=layers, embedding_size=16, cell=cell
            )
        )
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                # Larger than at the start of a training, so that an error can't hide in small numbers; both biases of
                # a gate differ from zero and from each other.
                parameter.add_(0.5 * torch.randn_like(parameter)) if "bias" in name else parameter.mul_(2)
        self.weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        self.cell: Cell = cell
        self.graph = Graph(self.weights, cell=cell)
        half = alphabet.encode(TEXT)
        self.ids = np.stack([half[:100], half[100:200], half[200:300]], axis=1)  # (T, B)

    def in_torch(self, state: State) -> tuple[Array, State]:
        # One (hidden, cell) a layer, or one (hidden,) where there is no cell.
        parts = [state.hidden, state.cell] if self.cell == "lstm" else [state.hidden]
        layers = tuple(
            tuple(torch.from_numpy(one[None].astype(np.float32)) for one in layer) for layer in zip(*parts, strict=True)
        )
        with torch.no_grad():
            logits, after = self.network.eval()(torch.from_numpy(self.ids), layers)
        stacked = [np.stack([one[0].numpy() for one in part]) for part in zip(*after, strict=True)]
        return logits.log_softmax(-1).numpy(), State(stacked[0], stacked[1] if len(stacked) == 2 else state.cell)

    def in_numpy(self, state: State) -> tuple[Array, State]:
        given, hidden, cell = log_probabilities(
            self.weights, self.ids, state.hidden.astype(np.float64), state.cell.astype(np.float64), kind=self.cell
        )
        return given, State(hidden, cell)

    def in_graph(self, state: State) -> tuple[Array, State]:
        # A step reads the last id and gives what follows: the first id comes in as last_id, the rest are forced.
        rows = [Row(last_id=int(id_)) for id_ in self.ids[0]]
        forced = np.concatenate([self.ids[1:], self.ids[:1]])
        outputs = self.graph.run(
            rows, forced, np.zeros(forced.shape, np.float32), state=state, alternatives=self.graph.V
        )
        return everything(outputs, self.graph), State(outputs["new_hidden"], outputs["new_cell"])


trio_of = cache(Trio)


@CELLS
@ARCHITECTURES
def test_torch_numpy_and_the_fp32_graph_agree_on_text_from_state_zero(
    cell: Cell, hidden_size: int, layers: int
) -> None:
    trio = trio_of(cell, hidden_size, layers)
    zero = trio.graph.zero(3)
    expected, _ = trio.in_numpy(zero)
    np.testing.assert_allclose(trio.in_torch(zero)[0], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(trio.in_graph(zero)[0], expected, rtol=0, atol=1e-4)


@CELLS
@ARCHITECTURES
def test_torch_numpy_and_the_fp32_graph_agree_on_text_from_any_state(cell: Cell, hidden_size: int, layers: int) -> None:
    trio = trio_of(cell, hidden_size, layers)
    state = trio.graph.random_state(3)  # hidden and cell differ, and each layer's from the other's
    expected, _ = trio.in_numpy(state)
    np.testing.assert_allclose(trio.in_torch(state)[0], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(trio.in_graph(state)[0], expected, rtol=0, atol=1e-4)


@CELLS
@ARCHITECTURES
def test_torch_numpy_and_the_fp32_graph_agree_on_the_state_after_a_text(
    cell: Cell, hidden_size: int, layers: int
) -> None:
    trio = trio_of(cell, hidden_size, layers)
    state = trio.graph.random_state(3)
    _, expected = trio.in_numpy(state)
    for _, after in (trio.in_torch(state), trio.in_graph(state)):
        np.testing.assert_allclose(after.hidden, expected.hidden, rtol=0, atol=1e-4)
        np.testing.assert_allclose(after.cell, expected.cell, rtol=0, atol=1e-4)


@CELLS
@pytest.mark.parametrize(("V", "H"), [(40, 96), (150, 48)], ids=["table", "embedding"])
def test_the_int8_graph_is_close_to_numpy(V: int, H: int, cell: Cell) -> None:
    weights = random_weights(V=V, E=24, H=H, L=2, cell=cell)
    graph = Graph(weights, cell=cell, precision="int8")
    ids = np.random.default_rng(0).integers(1, V, (60, 3))
    rows = [Row(last_id=int(id_)) for id_ in ids[0]]
    forced = np.concatenate([ids[1:], ids[:1]])
    outputs = graph.run(rows, forced, np.zeros(forced.shape, np.float32), alternatives=V)
    expected, _, _ = log_probabilities(weights, ids, np.zeros((2, 3, H)), np.zeros((2, 3, H)), kind=cell)
    probabilities = np.exp(expected)
    divergence = (probabilities * (expected - everything(outputs, graph))).sum(axis=-1)  # Kullback-Leibler, in nats
    # What rounds an RNN's state off comes back through its weights undamped by any gate.
    assert divergence.mean() < (4e-3 if cell == "rnn" else 5e-4)


@CELLS
@pytest.mark.parametrize("L", [1, 2])
@pytest.mark.parametrize(("V", "H"), [(40, 96), (150, 48)], ids=["table", "embedding"])
def test_the_int8_graph_with_weights_that_int8_can_hold_is_numpy_with_rounded_states(
    V: int, H: int, L: int, cell: Cell
) -> None:
    B = 50
    weights = exact_in_int8(random_weights(V=V, E=24, H=H, L=L, cell=cell))
    graph = Graph(weights, cell=cell, precision="int8")
    ids = np.random.default_rng(0).integers(1, V, B)
    state = graph.random_state(B)
    rows = [Row(last_id=int(id_)) for id_ in ids]
    outputs = graph.run(rows, ids[None], np.zeros((1, B), np.float32), state=state, alternatives=V)
    given, hidden, kept = log_probabilities(
        weights,
        ids[None],
        (state.hidden.astype(np.float64) - 128) / 127,
        state.cell.astype(np.float64),
        kind=cell,
        steps=127,
    )
    np.testing.assert_allclose(outputs["new_cell"], kept, rtol=0, atol=0.01)
    np.testing.assert_allclose(outputs["new_cell"][:1], kept[:1], rtol=0, atol=1e-5)
    # A last bit tips a state that lies between two steps to the other one.
    off = np.abs(outputs["new_hidden"].astype(np.float64) - 128 - hidden * 127)
    assert off.max() <= 1 + 1e-9
    tipped = off.max(axis=(0, 2)) > 0.5  # rows
    assert tipped.mean() < 0.1
    np.testing.assert_allclose(everything(outputs, graph)[0][~tipped], given[0][~tipped], rtol=0, atol=1e-4)


@CELLS
def test_a_hidden_state_in_int8_is_the_nearest_of_its_255_steps(cell: Cell) -> None:
    weights = random_weights(V=40, E=24, H=96, L=1, cell=cell)
    ids = np.arange(40)
    _, hidden, _ = log_probabilities(weights, ids[None], np.zeros((1, 40, 96)), np.zeros((1, 40, 96)), kind=cell)
    rows = [Row(last_id=int(id_)) for id_ in ids]
    outputs = Graph(weights, cell=cell, precision="int8").run(rows, ids[None], np.zeros((1, 40), np.float32))
    steps = (outputs["new_hidden"].astype(np.float64) - 128) / 127
    assert np.abs(steps - hidden).max() <= 0.5 / 127 + 1e-6


def test_an_int8_gru_moves_by_less_than_a_step() -> None:
    weights = random_weights(V=40, E=24, H=96, L=1, cell="gru")
    weights["layers.0.bias_ih_l0"][96:192] = 12.0  # update gates nearly 1: keep nearly everything
    graph = Graph(weights, cell="gru", precision="int8")
    ids = np.random.default_rng(0).integers(1, 40, (3000, 1))
    state = graph.random_state(1)
    outputs = graph.run([Row()], ids, np.zeros(ids.shape, np.float32), state=state)
    start = state.cell.astype(np.float64)
    inputs = np.concatenate([[[0]], ids[:-1]])
    _, expected, _ = log_probabilities(weights, inputs, start, start, kind="gru")
    assert np.abs(expected - start).max() < 3000 * 0.1 / 127  # no character moves a unit by a tenth of a step
    assert np.abs(expected - start).mean() > 1 / 127
    moved = outputs["new_cell"] - start
    np.testing.assert_allclose(moved, expected - start, rtol=0, atol=2e-3)


# Exactness: a row's bits depend on that row alone.

# (cell, V, E, H, L); the large ones are those that threads share; the last one's ids are drawn in columns.
Shape = tuple[Cell, int, int, int, int]
SHAPES: list[Shape] = [
    ("lstm", 66, 32, 100, 2),
    ("lstm", 97, 16, 33, 1),
    ("lstm", 3, 8, 16, 3),
    ("lstm", 40, 8, 7, 2),
    ("lstm", 66, 32, 512, 1),
    ("lstm", 700, 32, 250, 1),
    ("lstm", 1300, 8, 24, 1),
    ("gru", 66, 32, 100, 2),
    ("gru", 97, 16, 33, 1),
    ("gru", 40, 8, 7, 2),
    ("gru", 66, 32, 512, 1),
    ("rnn", 66, 32, 100, 2),
    ("rnn", 97, 16, 33, 1),
    ("rnn", 40, 8, 7, 2),
    ("rnn", 66, 32, 512, 1),
]
ROWS, STEPS = 67, 24
Key = tuple[Cell, int, int, int, int, Precision, int]
EXACT = ["ids", "logprob", "hidden", "cell", "automaton", "top_ids", "top_logprobs"]


@cache
def graph_of(key: Key) -> Graph:
    cell, V, E, H, L, precision, threads = key
    return Graph(random_weights(V=V, E=E, H=H, L=L, cell=cell), cell=cell, precision=precision, threads=threads)


class Population:
    """Rows of all sorts: plain and restricted ones, reading and sampling ones, constrained and free ones."""

    def __init__(self, graph: Graph) -> None:
        V = graph.V
        random_ = np.random.default_rng(3)
        self.rows = [
            Row(
                SamplingSettings(
                    temperature=float(random_.choice([0.0, 0.5, 1.0, 1.3])),
                    top_k=int(random_.choice([0, 0, 2, 20])),
                    top_p=float(random_.choice([1.0, 1.0, 0.5, 0.9])),
                    min_p=float(random_.choice([0.0, 0.0, 0.1])),
                    bias=random_.standard_normal(V).astype(np.float32) if random_.random() < 0.3 else None,
                ),
                last_id=int(random_.integers(V)),
                automaton_state=int(random_.choice([0, 0, 1, 2])),
            )
            for _ in range(ROWS - 1)
        ]
        self.rows.insert(5, Row())  # one that asks for nothing
        self.forced = np.where(random_.random((STEPS, ROWS)) < 0.2, random_.integers(0, V, (STEPS, ROWS)), SAMPLE)
        self.draws = (random_.integers(0, 2**24, (STEPS, ROWS)) * 2.0**-24).astype(np.float32)
        self.state = graph.random_state(ROWS)
        self.transitions = random_.integers(1, 3, (3, V)).astype(np.int32)
        self.transitions[1:][random_.random((2, V)) < 0.4] = -1
        self.transitions[0] = 0
        self.transitions[1:, 1] = 2  # no dead end

    def run(self, graph: Graph, members: list[int], cuts: list[int]) -> dict[str, Array]:
        """What the rows ``members`` give in one batch, the steps cut at ``cuts``."""
        state = State(self.state.hidden[:, members], self.state.cell[:, members])
        rows = [self.rows[member] for member in members]
        parts: list[dict[str, Array]] = []
        for start, end in itertools.pairwise([0, *cuts, STEPS]):
            outputs = graph.run(
                rows,
                np.ascontiguousarray(self.forced[start:end, members]),
                np.ascontiguousarray(self.draws[start:end, members]),
                state=state,
                transitions=self.transitions,
                alternatives=2,
            )
            state = State(outputs["new_hidden"], outputs["new_cell"])
            rows = [
                Row(row.settings, int(id_), int(automaton))
                for row, id_, automaton in zip(rows, outputs["ids"][-1], outputs["new_automaton_state"], strict=True)
            ]
            parts.append(outputs)
        return {
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0] if "new" not in name},
            "hidden": np.moveaxis(state.hidden, 1, 0)[None],
            "cell": np.moveaxis(state.cell, 1, 0)[None],
            "automaton": parts[-1]["new_automaton_state"][None],
        }


@cache
def whole_of(shape: Shape, precision: Precision) -> tuple[Population, dict[str, Array]]:
    graph = graph_of((*shape, precision, 1))
    population = Population(graph)
    return population, population.run(graph, list(range(ROWS)), [])


def differing(whole: dict[str, Array], part: dict[str, Array], members: list[int]) -> list[str]:
    """Names of the outputs that are not, bit for bit, those of the same rows in the whole batch."""
    return [name for name in EXACT if whole[name][:, members].tobytes() != part[name].tobytes()]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=12)
@given(
    members=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS),
    cuts=st.sets(st.integers(1, STEPS - 1), max_size=STEPS - 1).map(sorted),
)
def test_rows_keep_their_bits_in_any_batch_and_any_chunking(
    shape: Shape, precision: Precision, threads: int, members: list[int], cuts: list[int]
) -> None:
    population, whole = whole_of(shape, precision)
    part = population.run(graph_of((*shape, precision, threads)), members, cuts)
    assert not differing(whole, part, members)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_row_alone_has_the_bits_that_it_has_in_a_full_batch(shape: Shape, precision: Precision) -> None:
    population, whole = whole_of(shape, precision)
    graph = graph_of((*shape, precision, 1))
    wrong = {row for row in range(ROWS) if differing(whole, population.run(graph, [row], []), [row])}
    assert not wrong


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@CELLS
def test_the_first_rows_keep_their_bits_at_every_batch_size(cell: Cell, precision: Precision) -> None:
    shape: Shape = (cell, 97, 16, 33, 1)
    population, whole = whole_of(shape, precision)
    graph = graph_of((*shape, precision, 1))
    batches = [list(range(B)) for B in range(1, ROWS + 1)]
    assert not [len(rows) for rows in batches if differing(whole, population.run(graph, rows, []), rows)]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize(
    "mate",
    [
        SamplingSettings(top_k=1),
        SamplingSettings(top_p=0.1),
        SamplingSettings(min_p=0.9),
        SamplingSettings(temperature=0.0),
        SamplingSettings(temperature=7.0),
        SamplingSettings(bias=np.full(66, 3.0, np.float32)),
    ],
    ids=["top_k", "top_p", "min_p", "temperature 0", "temperature 7", "bias"],
)
def test_a_plain_row_keeps_its_bits_beside_one_that_asks_for_more(mate: SamplingSettings, precision: Precision) -> None:
    graph = graph_of((*SHAPES[0], precision, 1))
    draws = np.random.default_rng(0).random((STEPS, 2), np.float32)
    forced = np.full((STEPS, 2), SAMPLE)
    both = graph.run([Row(), Row(mate)], forced, draws)
    alone = graph.run([Row()], forced[:, :1], np.ascontiguousarray(draws[:, :1]))
    for name in ("ids", "logprob"):
        assert both[name][:, :1].tobytes() == alone[name].tobytes()
    for name in ("new_hidden", "new_cell"):
        assert both[name][:, :1].tobytes() == alone[name].tobytes()


def test_the_least_likely_ids_of_a_plain_row_stay_beside_a_row_that_truncates() -> None:
    graph = Graph(constant_weights([-40, 0, 0]))  # the first is far below the last bit of the sum of the others
    rows = [Row(), Row(SamplingSettings(top_k=1))]
    for batch in (rows, rows[:1]):
        draws = np.zeros((1, len(batch)), np.float32)
        assert graph.run(batch, np.full((1, len(batch)), SAMPLE), draws)["ids"][0, 0] == 0


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_population_of_the_exactness_tests_is_diverse(precision: Precision) -> None:
    population, whole = whole_of(SHAPES[0], precision)
    sampled = whole["ids"][population.forced == SAMPLE]
    assert len(np.unique(sampled)) > 50
    assert set(whole["automaton"][0]) == {0, 1, 2}


# The sampler, against the one in NumPy.


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[6]], ids=str)
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
def test_the_sampler_takes_what_the_one_in_numpy_takes(
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
    graph = graph_of((*shape, "fp32", 1))
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
    for row in range(B):
        # Where a draw or a limit falls on the edge between two ids, a last bit decides: both are right there.
        right = {
            inverse(
                distribution(
                    given[row],
                    SamplingSettings(temperature, top_k, top_p * (1 + p), min(min_p * (1 + m), 1.0), bias),
                    forbidden,
                ),
                min(max(float(draws[row]) + u, 0.0), LAST_DRAW),
            )
            for p, m, u in itertools.product((-1e-5, 0, 1e-5), repeat=3)
        }
        certain += len(right) == 1
        assert outputs["ids"][0, row] in right
    assert certain > B * 0.9


def test_the_order_is_min_p_then_top_k_then_top_p_over_what_is_left() -> None:
    # 0.4, 0.3, 0.2, 0.1: min_p 0.5 leaves three, top_k 2 two of 0.7, and 0.5 of these is within the first.
    graph = Graph(constant_weights(np.log([0.4, 0.3, 0.2, 0.1]).tolist()))
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(min_p=0.4), draws)) == {0, 1, 2}
    assert set(graph.sample(SamplingSettings(min_p=0.4, top_k=2), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(min_p=0.4, top_k=2, top_p=0.55), draws)) == {0}
    assert set(graph.sample(SamplingSettings(top_p=0.55), draws)) == {0, 1}


def test_min_p_and_top_p_look_at_the_distribution_after_temperature() -> None:
    graph = Graph(constant_weights(np.log([0.6, 0.3, 0.1]).tolist()))
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(min_p=0.3), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(min_p=0.3, temperature=2.0), draws)) == {0, 1, 2}
    assert set(graph.sample(SamplingSettings(top_p=0.5), draws)) == {0}
    assert set(graph.sample(SamplingSettings(top_p=0.5, temperature=2.0), draws)) == {0, 1}


def test_draws_are_inverted_in_the_order_of_ids() -> None:
    graph = Graph(constant_weights(np.log([0.1, 0.2, 0.3, 0.4]).tolist()))
    assert graph.sample(SamplingSettings(), [0.05, 0.15, 0.29, 0.31, 0.59, 0.61, 0.99]) == [0, 1, 1, 2, 2, 3, 3]


def test_draws_of_a_large_alphabet_are_inverted_column_by_column() -> None:
    V = 1300
    logits = np.full(V, -500.0)  # whose probability is 0 in float32
    chosen = [3, 128, 131, 1279, 1297]  # in column, row: (3, 0), (0, 1), (3, 1), (127, 9), (17, 10)
    logits[chosen] = np.log([0.1, 0.2, 0.3, 0.1, 0.3])
    graph = Graph(constant_weights(logits.tolist()))
    draws = [0.0, 0.19, 0.21, 0.29, 0.31, 0.59, 0.61, 0.89, 0.91, LAST_DRAW]
    assert graph.sample(SamplingSettings(), draws) == [128, 128, 3, 3, 131, 131, 1297, 1297, 1279, 1279]


@pytest.mark.parametrize("mate", [SamplingSettings(), SamplingSettings(top_k=2)])
def test_what_is_read_of_a_large_alphabet_is_taken_as_it_is(mate: SamplingSettings) -> None:
    V = 1300
    graph = Graph(constant_weights([-500.0] * 5 + [0.0] * (V - 5)))
    ids = np.array([[0, 1299], [700, 1], [128, 127]])
    outputs = graph.run([Row(), Row(mate)], ids, np.full(ids.shape, LAST_DRAW, np.float32))
    assert outputs["ids"].tolist() == ids.tolist()


@pytest.mark.parametrize("wanted", [SamplingSettings(), SamplingSettings(top_p=0.9), SamplingSettings(top_k=700)])
def test_draws_of_a_large_alphabet_take_ids_of_some_probability(wanted: SamplingSettings) -> None:
    random_ = np.random.default_rng(0)
    logits = np.where(random_.random(1300) < 0.5, -500.0, random_.normal(0, 3, 1300))
    graph = Graph(constant_weights(logits.tolist()))
    draws = [*np.linspace(0, LAST_DRAW, 4000, dtype=np.float32).tolist(), LAST_DRAW]
    assert (logits[graph.sample(wanted, draws)] > -500).all()


def test_sampling_keeps_the_order_of_ids_where_the_likeliest_are_sorted_out() -> None:
    graph = Graph(constant_weights(np.log([0.1, 0.2, 0.3, 0.4]).tolist()))
    assert graph.sample(SamplingSettings(top_k=3), [0.0, 0.21, 0.23, 0.54, 0.56]) == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("draw", [0.0, 0.5, LAST_DRAW])
@pytest.mark.parametrize("temperature", [0.0, -0.0])
def test_temperature_zero_takes_the_first_of_the_likeliest(temperature: float, draw: float) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    assert graph.sample(SamplingSettings(temperature=temperature), [draw]) == [2]


@pytest.mark.parametrize(
    "mate", [SamplingSettings(), SamplingSettings(top_k=2), SamplingSettings(bias=np.ones(6, np.float32))]
)
def test_temperature_zero_takes_the_first_of_the_likeliest_beside_any_row(mate: SamplingSettings) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    rows = [Row(SamplingSettings(temperature=0.0)), Row(mate)]
    assert graph.run(rows, np.full((1, 2), SAMPLE), np.full((1, 2), 0.9, np.float32))["ids"][0, 0] == 2


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-20])
def test_the_least_temperatures_take_one_of_the_likeliest(temperature: float) -> None:
    graph = Graph(constant_weights([0, 2, 5, 5, 1, 5]))
    assert graph.sample(SamplingSettings(temperature=temperature), [0.1, 0.5, 0.9]) == [2, 3, 5]


def test_top_k_one_is_greedy() -> None:
    graph = graph_of((*SHAPES[0], "fp32", 1))
    draws = np.random.default_rng(0).random((200, 2), np.float32)
    rows = [Row(SamplingSettings(top_k=1)), Row(SamplingSettings(temperature=0.0))]
    ids = graph.run(rows, np.full((200, 2), SAMPLE), draws)["ids"]
    assert ids[:, 0].tolist() == ids[:, 1].tolist()


def test_top_k_keeps_the_lower_id_of_equals() -> None:
    graph = Graph(constant_weights([1, 3, 3, 3, 0]))
    assert set(graph.sample(SamplingSettings(top_k=2), [0.0, 0.3, 0.6, LAST_DRAW])) == {1, 2}


def test_top_k_beyond_the_alphabet_keeps_all() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    assert graph.sample(SamplingSettings(top_k=2**32 - 1), [0.1, 0.5, 0.9]) == [0, 1, 2]


@pytest.mark.parametrize("top_k", [0, 1])
@pytest.mark.parametrize("top_p", [1e-45, 1e-38, 1e-6])
def test_the_least_top_p_keeps_the_likeliest(top_p: float, top_k: int) -> None:
    graph = Graph(constant_weights([0, 0.1, 0.2, 0.1]))
    assert set(graph.sample(SamplingSettings(top_p=top_p, top_k=top_k), [0.0, 0.5, LAST_DRAW])) == {2}


def test_top_p_keeps_the_fewest_that_reach_it_and_not_one_more() -> None:
    graph = Graph(constant_weights([0, 0, 0, 0]))  # a quarter each, exactly
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    assert set(graph.sample(SamplingSettings(top_p=0.5), draws)) == {0, 1}
    assert set(graph.sample(SamplingSettings(top_p=0.51), draws)) == {0, 1, 2}


def test_min_p_one_keeps_the_likeliest() -> None:
    graph = Graph(constant_weights([0, 0.1, 0.2, 0.2]))
    assert set(graph.sample(SamplingSettings(min_p=1.0), [0.0, 0.5, LAST_DRAW])) == {2, 3}


@pytest.mark.parametrize(
    "wanted",
    [SamplingSettings(), SamplingSettings(top_k=3), SamplingSettings(top_p=0.99), SamplingSettings(temperature=2.0)],
)
def test_the_least_and_the_greatest_draw_take_ids_of_some_probability(wanted: SamplingSettings) -> None:
    graph = Graph(constant_weights([-500, -500, 1, 0, 1, -500]))  # the probability of -500 is 0 in float32
    assert graph.sample(wanted, [0.0, LAST_DRAW]) == [2, 4]


@settings(max_examples=100)
@given(st.lists(st.floats(-30, 30, width=32), min_size=66, max_size=66))
def test_the_greatest_draw_stays_within_the_alphabet(bias: list[float]) -> None:
    graph = graph_of((*SHAPES[0], "fp32", 1))
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
def test_log_probabilities_are_those_before_temperature_bias_and_truncation(wanted: SamplingSettings) -> None:
    expected = np.log([0.2, 0.5, 0.3])
    graph = Graph(constant_weights((expected + 5).tolist()))
    outputs = graph.run([Row(wanted)], np.array([[2]]), np.zeros((1, 1), np.float32), alternatives=3)
    np.testing.assert_allclose(outputs["logprob"][0, 0], expected[2], rtol=1e-6)
    np.testing.assert_allclose(everything(outputs, graph)[0, 0], expected, rtol=1e-6)


def test_alternatives_come_likeliest_first_and_of_equals_the_lower_id() -> None:
    graph = Graph(constant_weights([0, 2, 1, 2]))
    outputs = graph.run([Row()], np.array([[0]]), np.zeros((1, 1), np.float32), alternatives=3)
    assert outputs["top_ids"][0, 0].tolist() == [1, 3, 2]


# The automaton.


def table(*rows: list[int]) -> NDArray[np.int32]:
    return np.array(rows, np.int32)


def test_state_zero_allows_everything() -> None:
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
def test_a_row_never_samples_what_its_automaton_forbids(wanted: SamplingSettings) -> None:
    graph = Graph(constant_weights([9, 0, -2, 9]))  # the likeliest are forbidden
    draws = np.linspace(0, LAST_DRAW, 101, dtype=np.float32).tolist()
    sampled = graph.sample(wanted, draws, state=1, transitions=table([0, 0, 0, 0], [-1, 1, 1, -1]))
    assert set(sampled) <= {1, 2}


def test_the_automaton_moves_as_its_table_says() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    # 1 → (id 1) → 2 → (id 2) → 3 → (id 0) → 1: each state allows one id only.
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


def test_a_forced_id_leaves_the_automaton_where_it_is() -> None:
    graph = Graph(constant_weights([0, 0, 0]))
    transitions = table([0, 0, 0], [-1, 2, -1], [-1, -1, 2])
    forced = np.array([[0], [2], [SAMPLE], [0]])  # ids that the automaton forbids may be read
    outputs = graph.run([Row(automaton_state=1)], forced, np.full((4, 1), 0.5, np.float32), transitions=transitions)
    assert outputs["ids"][:, 0].tolist() == [0, 2, 1, 0]
    assert outputs["new_automaton_state"].tolist() == [2]
