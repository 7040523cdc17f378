"""Exactness: a row's bits depend on that row alone, whatever its batch and however its steps are chunked."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.cell import Cell, Precision
from tests.support.reference.graphs import Array, Graph, Row, Shape, State, constant_weights, graph_of

# The large ones are those that threads share; the last LSTM draws its ids in columns.
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
EXACT = ["ids", "logprob", "hidden", "cell", "automaton", "top_ids", "top_logprobs"]


class Population:
    """Rows of all kinds: plain and restricted, reading and sampling, constrained and free."""

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
        self.rows.insert(5, Row())  # a row with default settings
        self.forced = np.where(random_.random((STEPS, ROWS)) < 0.2, random_.integers(0, V, (STEPS, ROWS)), SAMPLE)
        self.draws = (random_.integers(0, 2**24, (STEPS, ROWS)) * 2.0**-24).astype(np.float32)
        self.state = graph.random_state(ROWS)
        self.transitions = random_.integers(1, 3, (3, V)).astype(np.int32)
        self.transitions[1:][random_.random((2, V)) < 0.4] = -1
        self.transitions[0] = 0
        self.transitions[1:, 1] = 2  # no dead end

    def run(self, graph: Graph, members: list[int], cuts: list[int]) -> dict[str, Array]:
        """Returns the outputs of the rows ``members`` in one batch, their steps cut into calls at ``cuts``."""
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
    graph = graph_of(shape, precision)
    population = Population(graph)
    return population, population.run(graph, list(range(ROWS)), [])


def differing(whole: dict[str, Array], part: dict[str, Array], members: list[int]) -> list[str]:
    """Returns the names of the outputs whose bits differ from those of the same rows in the whole batch."""
    return [name for name in EXACT if whole[name][:, members].tobytes() != part[name].tobytes()]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=6)
@given(
    members=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS),
    cuts=st.sets(st.integers(1, STEPS - 1), max_size=STEPS - 1).map(sorted),
)
@pytest.mark.slow
def test_rows_keep_their_bits_in_any_batch_and_any_chunking(
    shape: Shape, precision: Precision, threads: int, members: list[int], cuts: list[int]
) -> None:
    population, whole = whole_of(shape, precision)
    part = population.run(graph_of(shape, precision, threads), members, cuts)
    assert not differing(whole, part, members)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.slow
@pytest.mark.no_cover
def test_a_row_alone_has_its_bits_of_the_full_batch(shape: Shape, precision: Precision) -> None:
    population, whole = whole_of(shape, precision)
    graph = graph_of(shape, precision)
    wrong = {row for row in range(ROWS) if differing(whole, population.run(graph, [row], []), [row])}
    assert not wrong


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.slow
@pytest.mark.no_cover
def test_the_first_rows_keep_their_bits_at_every_batch_size(cell: Cell, precision: Precision) -> None:
    shape: Shape = (cell, 97, 16, 33, 1)
    population, whole = whole_of(shape, precision)
    graph = graph_of(shape, precision)
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
    graph = graph_of(SHAPES[0], precision)
    draws = np.random.default_rng(0).random((STEPS, 2), np.float32)
    forced = np.full((STEPS, 2), SAMPLE)
    both = graph.run([Row(), Row(mate)], forced, draws)
    alone = graph.run([Row()], forced[:, :1], np.ascontiguousarray(draws[:, :1]))
    for name in ("ids", "logprob"):
        assert both[name][:, :1].tobytes() == alone[name].tobytes()
    for name in ("new_hidden", "new_cell"):
        assert both[name][:, :1].tobytes() == alone[name].tobytes()


def test_a_plain_row_keeps_its_least_likely_ids_beside_a_row_that_truncates() -> None:
    graph = Graph(constant_weights([-40, 0, 0]))  # id 0 is far below the last bit of the others' sum
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
