import numpy as np
import pytest
import torch
from torch import Tensor

from nextchar_model.cell import ROW_BLOCKS, Cell
from nextchar_training.learning.network import Network, NetworkState, detached, restarted
from nextchar_training.learning.recipe import Architecture
from tests.support.reference.cells import log_probabilities

V, E, H, L, B, T = 7, 5, 6, 2, 3, 9
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


def make(cell: Cell = "lstm", *, dropout: float = 0.0, input_dropout: float = 0.0, layers: int = L) -> Network:
    torch.manual_seed(0)
    return Network(
        Architecture(alphabet_size=V, hidden_size=H, layers=layers, embedding_size=E, cell=cell),
        dropout=dropout,
        input_dropout=input_dropout,
    )


def random_ids(T: int = T, B: int = B) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(V, size=(T, B)))


def random_state(network: Network) -> NetworkState:
    generator = torch.Generator().manual_seed(2)
    return tuple(
        tuple(torch.rand(one.shape, generator=generator) - 0.5 for one in layer) for layer in network.initial_state(B)
    )


@CELLS
@torch.no_grad()
def test_network_agrees_with_a_gate_by_gate_one_from_any_state(cell: Cell) -> None:
    network, ids = make(cell).eval(), random_ids()
    state = random_state(network)
    logits, after = network(ids, state)
    weights = {name: weight.numpy() for name, weight in network.state_dict().items()}
    hidden, kept = (np.concatenate([layer[part].numpy() for layer in state]).astype(np.float64) for part in (0, -1))
    expected, hidden, kept = log_probabilities(weights, ids.numpy(), hidden, kept, kind=cell)
    np.testing.assert_allclose(logits.log_softmax(-1).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([layer[0].numpy() for layer in after]), hidden, atol=1e-5)
    if cell == "lstm":
        np.testing.assert_allclose(np.concatenate([layer[1].numpy() for layer in after]), kept, atol=1e-5)


@CELLS
@torch.no_grad()
def test_reading_in_two_parts_equals_reading_at_once(cell: Cell) -> None:
    network, ids = make(cell).eval(), random_ids()
    whole, _ = network(ids, network.initial_state(B))
    first, state = network(ids[:4], network.initial_state(B))
    second, _ = network(ids[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)


@pytest.mark.parametrize(("cell", "tensors"), [("rnn", 1), ("gru", 1), ("lstm", 2)])
def test_a_state_has_a_hidden_part_and_in_an_lstm_a_cell(cell: Cell, tensors: int) -> None:
    network = make(cell)
    _, after = network(random_ids(), network.initial_state(B))
    for state in (network.initial_state(B), after):
        assert [[one.shape for one in layer] for layer in state] == [[torch.Size([1, B, H])] * tensors] * L


@CELLS
def test_a_sequence_that_begins_a_document_has_the_initial_state(cell: Cell) -> None:
    network = make(cell)
    before = random_state(network)
    after = restarted(before, torch.tensor([[False], [True], [False]]))
    for layer, layer_before in zip(after, before, strict=True):
        for one, one_before in zip(layer, layer_before, strict=True):
            assert not one[:, 1].any()
            assert torch.equal(one[:, [0, 2]], one_before[:, [0, 2]])


@CELLS
def test_a_detached_state_has_the_values_and_no_gradient(cell: Cell) -> None:
    network = make(cell)
    _, state = network(random_ids(), network.initial_state(B))
    for layer, layer_before in zip(detached(state), state, strict=True):
        for one, one_before in zip(layer, layer_before, strict=True):
            assert one_before.requires_grad
            assert not one.requires_grad
            assert torch.equal(one, one_before)


def layer_outputs(network: Network, ids: Tensor) -> Tensor:
    """The input of the readout, (T, B, H)."""
    seen: list[Tensor] = []
    handle = network.readout.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    network(ids, network.initial_state(ids.shape[1]))
    handle.remove()
    return seen[0]


def test_dropout_drops_the_same_units_along_a_sequence_and_others_in_another() -> None:
    dropped = layer_outputs(make(dropout=0.5, layers=1).train(), random_ids(T=20, B=8)) == 0
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert not torch.equal(dropped[0, :1].expand_as(dropped[0]), dropped[0])


def test_dropout_scales_what_it_keeps() -> None:
    network, ids = make(dropout=0.5, layers=1), random_ids()
    kept = layer_outputs(network.train(), ids)
    whole = layer_outputs(network.eval(), ids)
    torch.testing.assert_close(kept[kept != 0], 2 * whole[kept != 0])


def test_input_dropout_drops_features_of_the_embedding_along_a_sequence() -> None:
    network = make(input_dropout=0.5).train()
    seen: list[Tensor] = []
    network.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    network(random_ids(T=20, B=8), network.initial_state(8))
    dropped = seen[0] == 0
    assert dropped.any()
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))


@torch.no_grad()
def test_no_dropout_in_evaluation() -> None:
    network, ids = make(dropout=0.5, input_dropout=0.5).eval(), random_ids()
    assert torch.equal(network(ids, network.initial_state(B))[0], network(ids, network.initial_state(B))[0])


@CELLS
def test_recurrent_weights_of_each_gate_start_orthogonal(cell: Cell) -> None:
    for layer in make(cell).layers:
        weight = layer.get_parameter("weight_hh_l0").detach()
        assert len(weight) == ROW_BLOCKS[cell] * H
        for gate in weight.chunk(ROW_BLOCKS[cell]):
            torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=1e-5, rtol=0)


@CELLS
def test_parameters_have_the_names_that_the_graph_reads(cell: Cell) -> None:
    layer = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    expected = ["embedding.weight", *(f"layers.{n}.{name}" for n in range(L) for name in layer)]
    assert list(make(cell).state_dict()) == [*expected, "readout.weight", "readout.bias"]
