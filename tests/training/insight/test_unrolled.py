import pytest
import torch

from nextchar_model.cell import ROW_BLOCKS, Cell
from nextchar_training.insight.unrolled import step
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

T, B, H = 9, 3, 5


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@torch.no_grad()
def test_open_steps_reach_the_states_of_the_fused_layer(cell: Cell) -> None:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=7, hidden_size=H, embedding_size=4, cell=cell))
    for parameter in network.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    ids = torch.randint(7, (T, B))
    _, (expected,) = network(ids, network.initial_state(B))
    state = tuple(part[0] for part in network.initial_state(B)[0])
    for x in network.embedding(ids):
        state, gates = step(cell, network.layers[0], x, state)
        assert [gate.shape for gate in gates] == [(B, H)] * (0 if cell == "rnn" else ROW_BLOCKS[cell])
    torch.testing.assert_close(state, tuple(part[0] for part in expected))
