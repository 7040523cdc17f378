import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from nextchar_model.alphabet import Ids
from nextchar_training.insight import gates
from nextchar_training.insight.gates import GatesError, Trace
from nextchar_training.insight.saturation import write_saturation
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(Architecture(alphabet_size=7, hidden_size=5, layers=2, embedding_size=4)).eval()


@pytest.fixture
def ids() -> Ids:
    return np.random.default_rng(0).integers(1, 7, 40)


def test_a_trace_holds_the_states_that_the_network_computes(network: Network, ids: Ids) -> None:
    trace = gates.trace(network, ids)
    assert trace.gates.shape == (4, 2, 40, 5)
    with torch.no_grad():
        x = network.embedding(torch.from_numpy(np.concatenate([[0], ids])))
        for n, layer in enumerate(network.layers):
            x, (_, cell) = layer(x)
            assert trace.hidden[n] == pytest.approx(x[1:].numpy(), abs=1e-6)
            assert trace.cells[n, -1] == pytest.approx(cell[0].tanh().numpy(), abs=1e-6)
    # h = o * tanh(c), with the output gate last
    assert trace.gates[3] * trace.cells == pytest.approx(trace.hidden, abs=1e-6)


def test_gates_forced_by_their_biases_are_saturated_along_the_whole_text(network: Network, ids: Ids) -> None:
    H = 5
    with torch.no_grad():
        bias = network.layers[1].get_parameter("bias_ih_l0")
        bias[:H] = -50.0  # input gates shut
        bias[H : 2 * H] = 50.0  # forget gates open
        bias[2 * H : 3 * H] = -50.0  # candidates near -1
        bias[3 * H :] = 50.0
        network.layers[1].get_parameter("weight_ih_l0").zero_()
    shut, open_ = gates.trace(network, ids).saturation()
    assert shut[:, 1].mean(axis=1).tolist() == [1.0, 0.0, 1.0, 0.0]
    assert open_[:, 1].mean(axis=1).tolist() == [0.0, 1.0, 0.0, 1.0]


def test_saturation_counts_the_characters_near_either_end_of_a_gates_range(tmp_path: Path) -> None:
    values = np.zeros((4, 1, 4, 1), np.float32)
    values[:, 0, :, 0] = [[0.05, 0.5, 0.95, 0.99], [0.5] * 4, [-0.9, -0.7, 0.85, 0.7], [0.0, 0.0, 0.0, 1.0]]
    trace = Trace(values, np.zeros((1, 4, 1), np.float32), np.zeros((1, 4, 1), np.float32))
    write_saturation(trace, tmp_path / "gates.csv")
    with (tmp_path / "gates.csv").open(newline="") as file:
        rows = {row["gate"]: (float(row["shut"]), float(row["open"])) for row in csv.DictReader(file)}
    assert rows == {"input": (0.25, 0.5), "forget": (0, 0), "candidate": (0.25, 0.25), "output": (0.75, 0.25)}


def test_the_first_telling_unit_keeps_either_sign_for_long() -> None:
    T = np.arange(200)
    slow = np.where(T // 50 % 2, 0.9, -0.9)
    cells = np.stack([np.where(T % 2, 0.9, -0.9), np.full(200, 0.9), slow * 0.1, slow], axis=1)
    cells += 0.01 * np.random.default_rng(0).standard_normal(cells.shape)
    assert gates.telling_units(cells.astype(np.float32))[0] == 3


def test_a_text_of_one_character_has_telling_units() -> None:
    assert gates.telling_units(np.array([[0.1, 0.2]], np.float32)).tolist() == [0, 1]


@pytest.mark.parametrize(("layer", "unit", "message"), [(2, None, "layers 0 to 1"), (0, 5, "units 0 to 4")])
def test_a_missing_layer_or_unit_is_an_error_that_names_the_range(
    network: Network, ids: Ids, layer: int, unit: int | None, message: str
) -> None:
    with pytest.raises(GatesError, match=message):
        gates.unit_of(gates.trace(network, ids), layer, unit)


def test_a_missing_layer_of_a_network_of_one_layer_is_an_error_without_a_range(ids: Ids) -> None:
    network = Network(Architecture(alphabet_size=7, hidden_size=5, embedding_size=4))
    with pytest.raises(GatesError, match=r"there is no layer 1: the network has only layer 0$"):
        gates.unit_of(gates.trace(network, ids), 1, None)


def test_a_candidates_thresholds_lie_as_far_inside_its_wider_range() -> None:
    assert gates.limits("forget") == (0.1, 0.9)
    assert gates.limits("candidate") == (-0.8, 0.8)


def test_a_network_without_cells_is_refused(ids: Ids) -> None:
    network = Network(Architecture(alphabet_size=7, hidden_size=5, embedding_size=4, cell="gru"))
    with pytest.raises(GatesError, match="gru cells; only an lstm"):
        gates.trace(network, ids)
