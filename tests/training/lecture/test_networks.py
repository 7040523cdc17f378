"""The lecture: its gradients equal PyTorch's and finite differences, and its LSTM is the one that is served."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nextchar_model.alphabet import Alphabet
from nextchar_model.description import TrainingSummary
from nextchar_model.runner import Runner
from nextchar_training.export.exporter import export
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from nextchar_training.lecture.learning import learn, loss, say
from nextchar_training.lecture.networks import Lstm, LstmStep, Rnn, one_hot, sigmoid, softmax

V, H = 7, 5
IDS = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 0, 6]
INPUTS, TARGETS = IDS[:-1], IDS[1:]

NETWORKS = pytest.mark.parametrize("make", [Rnn, Lstm])


def as_torch(network: Rnn | Lstm) -> tuple[nn.RNN | nn.LSTM, nn.Linear]:
    """The same network made of PyTorch's own modules, in float64."""
    w = {name: torch.from_numpy(value.copy()) for name, value in network.weights.items()}
    if isinstance(network, Rnn):
        cell: nn.RNN | nn.LSTM = nn.RNN(V, H, dtype=torch.float64)
        below, previous, bias = w["Wxh"], w["Whh"], w["bh"]
    else:
        cell = nn.LSTM(V, H, dtype=torch.float64)
        below, previous, bias = w["W"][:, :V], w["W"][:, V:], w["b"]
    readout = nn.Linear(H, V, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(cell.parameters(), (below, previous, bias, torch.zeros_like(bias)), strict=True):
            parameter.copy_(value)
        readout.weight.copy_(w["Why"])
        readout.bias.copy_(w["by"])
    return cell, readout


def torch_loss(cell: nn.RNN | nn.LSTM, readout: nn.Linear, state: tuple[Tensor, ...]) -> Tensor:
    x = nn.functional.one_hot(torch.tensor(INPUTS), V).double()
    hidden, _ = cell(x, state if len(state) == 2 else state[0])
    return nn.functional.cross_entropy(readout(hidden), torch.tensor(TARGETS), reduction="sum")


def gradient_of(parameter: nn.Parameter) -> NDArray[np.float64]:
    assert parameter.grad is not None
    gradient: NDArray[np.float64] = parameter.grad.numpy()
    return gradient


def state_of(make: type[Rnn] | type[Lstm]) -> tuple[NDArray[np.float64], ...]:
    """A state that is not zero."""
    random = np.random.default_rng(1)
    return tuple(random.uniform(-0.9, 0.9, H) for _ in range(1 if make is Rnn else 2))


@NETWORKS
@pytest.mark.parametrize("from_zero", [True, False])
def test_loss_and_gradients_equal_those_of_autograd(make: type[Rnn] | type[Lstm], from_zero: bool) -> None:
    network = make(V, H, seed=1)
    state = None if from_zero else state_of(make)
    start: Any = state[0] if state is not None and make is Rnn else state
    steps: Any = network.forward(INPUTS, start)
    gradients = network.backward(steps, TARGETS)
    cell, readout = as_torch(network)
    tensors = tuple(torch.from_numpy(one)[None] for one in state or [np.zeros(H)] * (1 if make is Rnn else 2))
    expected = torch_loss(cell, readout, tensors)
    expected.backward()  # type: ignore[no-untyped-call]
    assert abs(loss(steps, TARGETS) - expected.item()) < 1e-10
    below, previous, bias, _, why, by = (gradient_of(one) for one in (*cell.parameters(), *readout.parameters()))
    given = gradients | (
        {"below": gradients["Wxh"], "previous": gradients["Whh"], "bias": gradients["bh"]}
        if make is Rnn
        else {"below": gradients["W"][:, :V], "previous": gradients["W"][:, V:], "bias": gradients["b"]}
    )
    for name, value in {
        "below": below,
        "previous": previous,
        "bias": bias,
        "Why": why,
        "by": by,
    }.items():
        assert np.abs(value).max() > 1e-3  # there is something to compare
        np.testing.assert_allclose(given[name], value, rtol=0, atol=1e-10)


@NETWORKS
def test_gradients_equal_finite_differences(make: type[Rnn] | type[Lstm]) -> None:
    network = make(V, H, seed=2)
    steps: Any = network.forward(INPUTS)
    gradients = network.backward(steps, TARGETS)
    for name, weight in network.weights.items():
        numeric = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            kept, e = weight[place], 1e-5
            losses = []
            for value in (kept + e, kept - e):
                weight[place] = value
                losses.append(loss(network.forward(INPUTS), TARGETS))
            weight[place] = kept
            numeric[place] = (losses[0] - losses[1]) / (2 * e)
        np.testing.assert_allclose(gradients[name], numeric, rtol=0, atol=1e-7)


def test_the_lstm_is_the_one_that_is_exported_and_served(tmp_path: Path) -> None:
    text = "say hello to the hall, " * 20
    alphabet = Alphabet.of(text)
    V, H = alphabet.size, 9
    student = Lstm(V, H, seed=3)
    network = Network(Architecture(alphabet_size=V, hidden_size=H, embedding_size=V))
    w = {name: torch.from_numpy(value).float() for name, value in student.weights.items()}
    with torch.no_grad():
        network.embedding.weight.copy_(torch.eye(V))  # one-hot vectors
        (layer,) = network.layers
        below, previous, bias, second_bias = layer.parameters()
        below.copy_(w["W"][:, :V])
        previous.copy_(w["W"][:, V:])
        bias.copy_(w["b"])
        second_bias.zero_()
        network.readout.weight.copy_(w["Why"])
        network.readout.bias.copy_(w["by"])
    path = tmp_path / "student.onnx"
    export(network, alphabet, TrainingSummary("", 0, "", 0, 0.0, 0, 0.0), path, precision="fp32", text=text)
    ids = alphabet.encode(text)[:60]
    steps = student.forward([0, *ids[:-1]])
    runner = Runner(path)
    given, _ = runner.score(np.array([0]), ids[:, None], runner.initial_state(1))
    expected = [np.log(step.p[id_]) for step, id_ in zip(steps, ids, strict=True)]
    np.testing.assert_allclose(given[:, 0], expected, rtol=0, atol=1e-5)


@NETWORKS
def test_hell_is_answered_with_ello(make: type[Rnn] | type[Lstm]) -> None:
    alphabet = "ehlo"
    hello = [alphabet.index(character) for character in "hello"]
    network = make(4, 16)
    before = "".join(alphabet[id_] for id_ in say(network, hello[:-1]))
    losses = learn(network, hello)
    assert before != "ello"
    assert "".join(alphabet[id_] for id_ in say(network, hello[:-1])) == "ello"
    assert losses[-1] < losses[0] / 10


@NETWORKS
def test_reading_in_two_parts_equals_reading_at_once(make: type[Rnn] | type[Lstm]) -> None:
    network = make(V, H)
    whole, first = network.forward(IDS), network.forward(IDS[:4])
    last = first[-1]
    state: Any = (last.h, last.c) if isinstance(last, LstmStep) else last.h
    rest = network.forward(IDS[4:], state)
    assert [step.p.tolist() for step in whole[4:]] == [step.p.tolist() for step in rest]


def test_a_plain_state_forgets_what_a_cell_with_open_forget_gates_carries() -> None:
    """The loss at the last of T characters depends on the state before the first: compares T = 60 with T = 1."""

    def slope(network: Rnn | Lstm, T: int) -> float:
        slopes = []
        for unit in range(H):
            losses = []
            for e in (1e-5, -1e-5):
                state = np.zeros(H)
                state[unit] = e
                ids = [2] * T
                start: Any = state if isinstance(network, Rnn) else (np.zeros(H), state)
                losses.append(-np.log(network.forward(ids, start)[-1].p[3]))
            slopes.append((losses[0] - losses[1]) / 2e-5)
        return float(np.linalg.norm(slopes))

    plain, lstm = Rnn(V, H), Lstm(V, H)
    lstm.weights["b"][:H] = -5.0  # input gates: nearly shut
    lstm.weights["b"][H : 2 * H] = 10.0  # forget gates: open
    assert slope(plain, 60) / slope(plain, 1) < 1e-4
    assert slope(lstm, 60) / slope(lstm, 1) > 0.5


def test_one_hot_softmax_and_sigmoid() -> None:
    assert one_hot(2, 4).tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(softmax(np.log([1.0, 3.0]) + 1000), [0.25, 0.75])
    assert [sigmoid(np.array(a)).round(6) for a in (-100.0, 0.0, 100.0)] == [0, 0.5, 1]
