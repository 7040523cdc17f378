"""The measured gradients equal finite differences, and what theory predicts for networks built to show it."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_training.data.batches import TextTooShortError
from nextchar_training.data.split import Split
from nextchar_training.insight.gradients import REACH, WARM_UP, Course, gradient_norms, measure
from nextchar_training.insight.reach import shares, table
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture, Recipe

V, H, B, T, K = 7, 5, 3, 12, 8
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
LINE = "A line of a text that repeats itself.\n"


def make(cell: Cell, *, units: int = H) -> Network:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=V, hidden_size=units, embedding_size=4, cell=cell))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def some_text(T: int = T, B: int = B) -> tuple[Tensor, Tensor]:
    ids = torch.from_numpy(np.random.default_rng(0).integers(V, size=(T + 1, B)))
    return ids[:-1], ids[-1]


def numeric_norms(network: Network, inputs: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """The norms that ``gradient_norms`` returns, by finite differences of the network's own forward pass."""
    network = copy.deepcopy(network).double().eval()
    e = 1e-6

    @torch.no_grad()
    def loss(row: int, k: int, part: int, unit: int, change: float) -> float:
        """The loss of one window after one unit of the state, k characters before the end, changes by ``change``."""
        window = inputs[:, row : row + 1]
        _, (layer,) = network(window[: T - k], network.initial_state(1))
        state = [one.clone() for one in layer]
        if part == 1:  # the hidden state follows the cell at once
            opened = state[0] / torch.tanh(state[1])
            state[1][0, 0, unit] += change
            state[0] = opened * torch.tanh(state[1])
        else:
            state[0][0, 0, unit] += change
        logits = network.readout(state[0][0])
        if k > 0:
            given, _ = network(window[T - k :], (tuple(state),))
            logits = given[-1]
        return float(functional.cross_entropy(logits, targets[row : row + 1]))

    parts = len(network.initial_state(1)[0])
    norms = np.zeros((parts, K + 1, B))
    for part, k, row in np.ndindex(norms.shape):
        slope = [(loss(row, k, part, u, e) - loss(row, k, part, u, -e)) / (2 * e) for u in range(H)]
        norms[part, k, row] = np.linalg.norm(slope)
    return norms


@CELLS
def test_gradients_equal_finite_differences(cell: Cell) -> None:
    network = make(cell)
    inputs, targets = some_text()
    expected = numeric_norms(network, inputs, targets)
    assert expected.max() > 10 * expected.min() > 0
    np.testing.assert_allclose(gradient_norms(network, inputs, targets, K), expected, rtol=1e-5, atol=1e-9)


@CELLS
def test_measuring_leaves_weights_and_precision_as_they_were(cell: Cell) -> None:
    network = make(cell)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    gradient_norms(network, *some_text(), K)
    for name, weight in network.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("radius", [0.3, 0.7, 0.9])
def test_an_rnn_with_shrinking_weights_forgets_exponentially(radius: float) -> None:
    network = make("rnn", units=16)
    (layer,) = network.layers
    with torch.no_grad():
        recurrent = layer.get_parameter("weight_hh_l0")
        nn.init.orthogonal_(recurrent, gain=radius)
    norms = gradient_norms(network, *some_text(80), 60)[0]  # (K + 1, B)
    assert (norms[1:] <= norms[:-1] * radius * (1 + 1e-6)).all()  # tanh' is at most 1
    assert (norms[60] <= norms[0] * radius**60 * (1 + 1e-4)).all()


def test_an_rnn_without_input_forgets_at_the_rate_of_its_weights() -> None:
    network = make("rnn", units=16)
    (layer,) = network.layers
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        nn.init.orthogonal_(layer.get_parameter("weight_hh_l0"), gain=0.8)
    norms = gradient_norms(network, *some_text(80), 60)[0]  # the state stays 0, where tanh' is 1
    np.testing.assert_allclose(norms, norms[0] * 0.8 ** np.arange(61)[:, None], rtol=1e-4)


def test_the_cell_of_an_lstm_with_open_forget_gates_carries_the_gradient_past_the_hidden_state() -> None:
    network = make("lstm")
    (layer,) = network.layers
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").mul_(0.1)
        bias = layer.get_parameter("bias_ih_l0")
        bias[:H] = -5.0  # input gates: nearly shut
        bias[H : 2 * H] = 20.0  # forget gates: open
    hidden, cell = gradient_norms(network, *some_text(80), 60)
    assert (cell[60] / cell[0]).min() > 0.1
    assert (hidden[60] / hidden[0]).max() < 0.01


def split_of(text: str) -> Split:
    alphabet, end = Alphabet.of(text), len(text) * 9 // 10
    return Split(alphabet.encode(text[:end]), [alphabet.spell(text[end:])], int(alphabet.encode("\n")[0]))


def course_of(text: str, cell: Cell = "lstm", epochs: int = 2) -> Course:
    alphabet = Alphabet.of(text)
    settings = Recipe(
        epochs=epochs, batch_size=4, sequence_length=8, learning_rate=0.01, dropout=0.0, input_dropout=0.0
    )
    return measure(
        split_of(text), Architecture(alphabet_size=alphabet.size, hidden_size=8, embedding_size=4, cell=cell), settings
    )


@pytest.mark.parametrize(("cell", "parts"), [("rnn", 1), ("gru", 1), ("lstm", 2)])
@pytest.mark.slow
def test_a_network_is_measured_before_and_after_its_training(cell: Cell, parts: int) -> None:
    course = course_of(LINE * 80, cell)
    curves = shares(course.gradients)
    names = [(cell, weights, part) for weights in ("initial", "trained") for part in ("hidden", "cell")[:parts]]
    assert list(curves) == names
    for left in curves.values():
        assert len(left) == REACH + 1
        assert left[0] == 1.0
        assert np.isfinite(left).all()
    assert not np.array_equal(curves[cell, "initial", "hidden"], curves[cell, "trained", "hidden"])
    assert course.losses[0].characters == 0
    assert course.losses[-1].loss < course.losses[0].loss
    rows = [list(column.cells) for column in table(course.gradients, course.losses).columns]
    assert rows[-1] == [f"{course.losses[n].loss:.3f}" if part == 0 else "" for n in (0, -1) for part in range(parts)]


@pytest.mark.slow
def test_norms_are_means_over_the_held_out_text() -> None:
    text = LINE * 80
    alphabet = Alphabet.of(text)
    ids = torch.from_numpy(split_of(text).validation[0].ids)
    torch.manual_seed(1)  # the seed of the training
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=8, embedding_size=4))
    T = WARM_UP + REACH + 1
    starts = range(len(ids) - T)  # fewer than WINDOWS, so all are measured
    norms = [gradient_norms(network, ids[s : s + T, None], ids[s + T : s + T + 1], REACH) for s in starts]
    rows = [row for row in course_of(text).gradients if row.weights == "initial"]
    expected = np.mean(norms, axis=(0, 3))
    np.testing.assert_allclose([row.norm for row in rows], expected.ravel(), rtol=1e-6)


def test_a_held_out_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(TextTooShortError, match=r"the held-out text has \d+ ids; .* at least 202"):
        course_of(LINE * 40)
