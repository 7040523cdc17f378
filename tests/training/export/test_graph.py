"""The graph: it agrees with PyTorch and with NumPy, in fp32 closely and in int8 up to rounding."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from tests.support.reference.cells import log_probabilities
from tests.support.reference.graphs import Array, Graph, Row, State, everything, exact_in_int8, random_weights

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
    """One network in PyTorch, in the fp32 graph and in NumPy. Each returns log-probabilities, [T, B, V]."""

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
                # Larger than at the start of a training, so that small numbers can't hide an error. Both biases of a
                # gate differ from zero and from each other.
                parameter.add_(0.5 * torch.randn_like(parameter)) if "bias" in name else parameter.mul_(2)
        self.weights = {name: value.numpy() for name, value in self.network.state_dict().items()}
        self.cell: Cell = cell
        self.graph = Graph(self.weights, cell=cell)
        half = alphabet.encode(TEXT)
        self.ids = np.stack([half[:100], half[100:200], half[200:300]], axis=1)  # (T, B)

    def in_torch(self, state: State) -> tuple[Array, State]:
        # One (hidden, cell) per layer, or one (hidden,) if the model has no cell.
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
        # A step reads the last id and predicts the next one: the first id is fed in as last_id, the rest are forced.
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
    state = trio.graph.random_state(3)  # hidden and cell differ, and so do the layers
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
    # An RNN's rounding errors return through its weights, and no gate damps them.
    assert divergence.mean() < (4e-3 if cell == "rnn" else 5e-4)


@CELLS
@pytest.mark.parametrize("L", [1, 2])
@pytest.mark.parametrize(("V", "H"), [(40, 96), (150, 48)], ids=["table", "embedding"])
def test_the_int8_graph_of_weights_exact_in_int8_equals_numpy_with_rounded_states(
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
    # A state halfway between two steps may be rounded to either, depending on a last bit.
    off = np.abs(outputs["new_hidden"].astype(np.float64) - 128 - hidden * 127)
    assert off.max() <= 1 + 1e-9
    tipped = off.max(axis=(0, 2)) > 0.5  # rows
    assert tipped.mean() < 0.1
    np.testing.assert_allclose(everything(outputs, graph)[0][~tipped], given[0][~tipped], rtol=0, atol=1e-4)


@CELLS
def test_an_int8_hidden_state_is_rounded_to_the_nearest_of_255_steps(cell: Cell) -> None:
    weights = random_weights(V=40, E=24, H=96, L=1, cell=cell)
    ids = np.arange(40)
    _, hidden, _ = log_probabilities(weights, ids[None], np.zeros((1, 40, 96)), np.zeros((1, 40, 96)), kind=cell)
    rows = [Row(last_id=int(id_)) for id_ in ids]
    outputs = Graph(weights, cell=cell, precision="int8").run(rows, ids[None], np.zeros((1, 40), np.float32))
    steps = (outputs["new_hidden"].astype(np.float64) - 128) / 127
    assert np.abs(steps - hidden).max() <= 0.5 / 127 + 1e-6


def test_an_int8_gru_can_move_by_less_than_a_step() -> None:
    weights = random_weights(V=40, E=24, H=96, L=1, cell="gru")
    weights["layers.0.bias_ih_l0"][96:192] = 12.0  # update gates nearly 1: they keep nearly everything
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
