"""The probe: gates and states that no output of the graph has, against PyTorch and against the graph's own states."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids
from nextchar_model.batch import Batch, SamplingSettings
from nextchar_model.cell import Cell
from nextchar_model.description import ModelFileError, TrainingSummary
from nextchar_model.probe import Probe
from nextchar_model.runner import Runner
from nextchar_training.export.exporter import export
from nextchar_training.insight.unrolled import step
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from tests.support.tiny_model import TinyModel, make_text

TinyOf = Callable[[Cell], TinyModel]
CELLS: list[Cell] = ["rnn", "gru", "lstm"]
UNITS = [7, 0, 30]
GATES = {
    "rnn": [],
    "gru": ["reset", "update", "candidate"],
    "lstm": ["input", "forget", "candidate", "output"],
}  # as PyTorch stacks them


def begun(runner: Runner, probe: Probe) -> Batch:
    """Returns a row at the start of a document, after the boundary."""
    batch = runner.start([SamplingSettings()])
    probe.feed(batch, np.array([BOUNDARY]))
    return batch


def torch_values(network: Network, ids: Ids, layer: int, quantities: tuple[str, ...]) -> NDArray[np.float32]:
    """Returns the values of all units of ``layer`` after each of ``ids``, by PyTorch, [T, H, Q]."""
    cell = network.architecture.cell
    with torch.no_grad():
        inputs = list(network.embedding(torch.from_numpy(np.concatenate([[BOUNDARY], ids]))))
        for n in range(layer + 1):
            state = tuple(part[0, 0] for part in network.initial_state(1)[n])
            steps = []
            for x in inputs:
                steps.append(step(cell, network.layers[n], x, state))
                state = steps[-1].state
            inputs = [one.state[0] for one in steps]
    rows = []
    for one in steps[1:]:
        named = dict(zip(GATES[cell], one.gates, strict=True)) | dict(zip(("hidden", "cell"), one.state, strict=False))
        rows.append(torch.stack([named[name] for name in quantities], dim=1).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_the_values_are_those_that_pytorch_computes(tiny_of: TinyOf, cell: Cell, layer: int) -> None:
    tiny = tiny_of(cell)
    runner, ids = Runner(tiny.fp32), tiny.alphabet.encode(make_text(20, seed=1))
    probe = Probe(runner, layer, UNITS)
    values = probe.read(begun(runner, probe), ids)
    expected = torch_values(tiny.network, ids, layer, probe.quantities)[:, UNITS]
    assert values == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_a_large_alphabets_model_is_probed_too(cell: Cell, tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = make_text(60)
    alphabet = Alphabet.of(text)
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=8, layers=1, embedding_size=4, cell=cell))
    summary = TrainingSummary("random weights", len(text), "none", 0, 0.0, 0, 0.0)
    for precision, tolerance in (("fp32", 1e-4), ("int8", 0.05)):
        path = tmp_path / f"{precision}.onnx"
        export(network, alphabet, summary, path, precision=precision, text=text)  # type: ignore[arg-type]
        runner, ids = Runner(path), alphabet.encode("the moon what?")
        assert "embedded_table" in runner.tensors
        probe = Probe(runner, 0, [5, 2])
        values = probe.read(begun(runner, probe), ids)
        assert values == pytest.approx(torch_values(network, ids, 0, probe.quantities)[:, [5, 2]], abs=tolerance)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_states_are_those_of_the_graph(tiny_of: TinyOf, cell: Cell, precision: str) -> None:
    tiny = tiny_of(cell)
    runner = Runner(getattr(tiny, precision))
    probe = Probe(runner, 1, UNITS)
    batch = begun(runner, probe)
    for id_ in tiny.alphabet.encode(make_text(5)):
        values = dict(zip(probe.quantities, probe.read(batch, np.array([id_]))[0].T, strict=True))
        hidden = batch.hidden[1, 0, UNITS].astype(np.float64)
        if precision == "int8":  # rounded to one of 255 steps, after this value
            assert values["hidden"] == pytest.approx((hidden - 128) / 127, abs=0.5 / 127 + 1e-6)
        else:
            assert values["hidden"] == pytest.approx(hidden, abs=1e-6)
        if len(batch.cell):
            exact = values["cell" if cell == "lstm" else "hidden"]
            assert exact == pytest.approx(batch.cell[1, 0, UNITS], abs=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_in_int8_a_gate_is_off_by_the_rounding_of_its_weights_at_most(tiny_of: TinyOf, cell: Cell) -> None:
    tiny, layer = tiny_of(cell), 1
    runner, weights = Runner(tiny.int8), tiny.network.layers[layer]
    probe = Probe(runner, layer, UNITS)
    batch = begun(runner, probe)
    # A weight is off by half a step of its row, 1/254 of the row's largest, and its input lies in (-1, 1).
    stacked = np.hstack([weights.get_parameter(f"weight_{part}_l0").detach().numpy() for part in ("ih", "hh")])
    tolerance = float(np.abs(stacked).max()) / 254 * stacked.shape[1]
    for id_ in tiny.alphabet.encode(make_text(5)):
        h, c = (batch.hidden[layer, 0].astype(np.float32) - 128) / 127, batch.cell[layer, 0]
        values = dict(zip(probe.quantities, probe.read(batch, np.array([id_]))[0].T, strict=True))
        x = (batch.hidden[layer - 1, 0].astype(np.float32) - 128) / 127
        with torch.no_grad():
            gates = step(cell, weights, torch.from_numpy(x), (torch.from_numpy(h), torch.from_numpy(c))).gates
        for name, gate in zip(GATES[cell], gates, strict=True):
            assert values[name] == pytest.approx(gate.numpy()[UNITS], abs=tolerance)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_bits_are_the_same_however_the_ids_are_cut(tiny_of: TinyOf, cell: Cell, precision: str) -> None:
    tiny = tiny_of(cell)
    runner, ids = Runner(getattr(tiny, precision)), tiny.alphabet.encode(make_text(9))
    probe = Probe(runner, 1, UNITS)
    whole = probe.read(begun(runner, probe), ids)
    for size in (1, 3, 16):
        batch = begun(runner, probe)
        parts = [probe.read(batch, ids[place : place + size]) for place in range(0, len(ids), size)]
        assert np.array_equal(np.concatenate(parts).view(np.uint32), whole.view(np.uint32))


def test_the_hidden_state_is_the_output_gate_times_tanh_of_the_cell(tiny: TinyModel) -> None:
    runner = Runner(tiny.int8)
    probe = Probe(runner, 0, UNITS)
    values = probe.read(begun(runner, probe), tiny.alphabet.encode(make_text(20)))
    *_, o, _, c, h = np.moveaxis(values.astype(np.float64), 2, 0)
    assert h == pytest.approx(o * np.tanh(c), rel=3e-7, abs=1e-9)


def test_a_row_that_is_probed_has_the_states_of_one_that_is_not(tiny: TinyModel) -> None:
    runner, ids = Runner(tiny.int8), tiny.alphabet.encode(make_text(9))
    probe = Probe(runner, 0, UNITS)
    probed, other = begun(runner, probe), begun(runner, probe)
    probe.read(probed, ids)
    probe.feed(other, ids)
    assert np.array_equal(probed.hidden, other.hidden)
    assert np.array_equal(probed.cell, other.cell)


def test_a_file_that_was_replaced_is_not_taken_for_the_one_that_was_opened(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(tiny.int8, path)
    runner = Runner(path)
    path.unlink()
    shutil.copy(tiny.fp32, path)
    with pytest.raises(ModelFileError, match="was replaced"):
        Probe(runner, 0, UNITS)
