"""Export: a file that fails a check is never written, and the file that was there before stays whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import to_array

from nextchar_model.alphabet import Alphabet, UnknownCharacterError
from nextchar_model.batch import SamplingSettings
from nextchar_model.cell import Cell, Precision
from nextchar_model.description import TrainingSummary
from nextchar_model.runner import Runner
from nextchar_training.export.exporter import MAX_LOSS_INCREASE, MIN_CHARACTERS, ExportError, export
from nextchar_training.export.renewal import renew
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.tiny_model import TinyModel, make_text

SUMMARY = TrainingSummary("random weights", 400, "none", 0, 0.0, 0, 0.0)
TEXT = make_text(100)
ALPHABET = Alphabet.of(TEXT)
COMPATIBILITY = Path(__file__).parents[2] / "compatibility"
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
PRECISIONS = pytest.mark.parametrize("precision", ["int8", "fp32"])


@pytest.fixture
def network() -> Network:
    torch.manual_seed(2)
    torch.set_num_threads(1)
    return Network(Architecture(alphabet_size=ALPHABET.size, hidden_size=24, layers=1, embedding_size=8))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path to export to, at which there is a file already."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the model before")
    return path


def run(
    network: Network,
    path: Path,
    precision: Precision = "fp32",
    text: str = TEXT,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    export(network, ALPHABET, SUMMARY, path, precision=precision, text=text, say=say)


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == b"the model before"
    assert list(path.parent.iterdir()) == [path]


def lean_on_a_state_between_two_steps(network: Network) -> None:
    """Makes unit 0 exactly 0.5, which int8 can't represent, and lets the readout multiply it by large weights."""
    H = network.architecture.hidden_size
    weights = dict(network.layers[0].named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight[::H] = 0  # row 0 of each gate
        weights["bias_ih_l0"][[0, H, 2 * H]] = 50.0  # input and forget gates open, candidate 1: the cell grows
        much = 300 * torch.randn(ALPHABET.size)
        network.readout.weight[:, 0] = much
        network.readout.bias.sub_(much / 2)


@PRECISIONS
def test_the_same_network_is_always_the_same_bytes(network: Network, path: Path, precision: Precision) -> None:
    run(network, path, precision)
    first = path.read_bytes()
    run(network, path, precision)
    assert path.read_bytes() == first


@PRECISIONS
def test_the_file_replaces_the_old_one_and_leaves_nothing_else(
    network: Network, path: Path, precision: Precision
) -> None:
    run(network, path, precision)
    assert list(path.parent.iterdir()) == [path]
    assert Runner(path).replay().exact


def test_a_reader_of_the_old_file_can_read_it_to_its_end(network: Network, path: Path) -> None:
    with path.open("rb") as before:
        run(network, path)
        assert before.read() == b"the model before"


@PRECISIONS
def test_the_returned_description_is_the_one_in_the_file(network: Network, path: Path, precision: Precision) -> None:
    description = export(network, ALPHABET, SUMMARY, path, precision=precision, text=TEXT)
    assert Runner(path).description == description
    assert description.precision == precision
    assert description.parameters == sum(parameter.numel() for parameter in network.parameters())


@CELLS
@pytest.mark.parametrize("layers", [1, 2])
def test_an_alphabet_larger_than_the_network_can_be_exported(path: Path, cell: Cell, layers: int) -> None:
    text = "".join(map(chr, range(0xAC00, 0xAC00 + 300)))
    alphabet = Alphabet.of(text)
    network = Network(
        Architecture(alphabet_size=alphabet.size, hidden_size=24, layers=layers, embedding_size=8, cell=cell)
    )
    export(network, alphabet, SUMMARY, path, precision="int8", text=text)
    assert Runner(path).replay().exact


@CELLS
@PRECISIONS
def test_the_description_names_the_cell(tiny_of: Callable[[Cell], TinyModel], cell: Cell, precision: Precision) -> None:
    assert Runner(getattr(tiny_of(cell), precision)).description.cell == cell


@CELLS
def test_the_measured_figures_are_in_the_file(tiny_of: Callable[[Cell], TinyModel], cell: Cell) -> None:
    tiny = tiny_of(cell)
    fp32, int8 = (Runner(path).description.checks for path in (tiny.fp32, tiny.int8))
    assert 0 < fp32.logit_difference <= 1e-4
    assert fp32.loss_increase == 0
    assert int8.loss - fp32.loss == pytest.approx(int8.loss_increase)
    assert 0 < abs(int8.loss_increase) <= MAX_LOSS_INCREASE
    assert int8.characters == len(tiny.text)


def test_a_checkpoint_of_the_release_before_becomes_the_same_model_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    before = Runner(COMPATIBILITY / "model.onnx").description
    checkpoint = load_checkpoint(COMPATIBILITY / "best.pt")
    text = before.replay_sample.text * 10
    export(checkpoint.network(), checkpoint.alphabet, before.training, path, precision="int8", text=text)
    after = Runner(path).description
    assert replace(after, checks=before.checks, replay_sample=before.replay_sample) == before
    old, new = (onnx.load(file).graph for file in (COMPATIBILITY / "model.onnx", path))
    given, expected = ({one.name: to_array(one) for one in graph.initializer} for graph in (new, old))
    for name in given.keys() & expected.keys():
        # The table is a product of matrices, whose last bits depend on the processor.
        np.testing.assert_allclose(given[name], expected[name], rtol=1e-5, atol=1e-6)
    of_truncation = {"alphabet_length", "magnitude_of_one", "margin", "searched_rows"}
    assert given.keys() - expected.keys() == {"is_end", *of_truncation}


def test_an_earlier_model_file_is_renewed_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    said: list[str] = []
    renew(COMPATIBILITY / "model.onnx", path, say=said.append)
    before, after = Runner(COMPATIBILITY / "model.onnx"), Runner(path)
    assert (before.counts_down, after.counts_down) == (False, True)
    assert before.description == after.description
    assert before.replay().numeric_class == after.replay().numeric_class
    assert said[0].startswith("replay sample repeated bit for bit")


@CELLS
def test_rows_of_a_file_with_one_scale_per_matrix_have_the_same_bits_together_and_alone(
    tiny_of: Callable[[Cell], TinyModel], path: Path, cell: Cell
) -> None:
    tiny = tiny_of(cell)
    export(tiny.network, tiny.alphabet, SUMMARY, path, precision="int8", scales="matrix", text=tiny.text)
    runner = Runner(path)
    assert {scale.shape for name, scale in runner.tensors.items() if name.endswith("_scale")} == {()}
    forced = np.random.default_rng(0).integers(0, tiny.alphabet.size, (20, 33))
    together = runner.advance(runner.start([SamplingSettings()] * 33), forced, np.zeros(forced.shape, np.float32))
    for row in range(33):
        one = np.ascontiguousarray(forced[:, [row]])
        alone = runner.advance(runner.start([SamplingSettings()]), one, np.zeros(one.shape, np.float32))
        assert together.logprob[:, [row]].tobytes() == alone.logprob.tobytes()


def test_a_file_with_one_scale_per_matrix_is_renewed_with_the_same_bits(network: Network, path: Path) -> None:
    export(network, ALPHABET, SUMMARY, path, precision="int8", scales="matrix", text=TEXT)
    renewed = path.with_name("renewed.onnx")
    renew(path, renewed)
    assert renewed.read_bytes() == path.read_bytes()


def test_every_check_is_reported(network: Network, path: Path) -> None:
    said: list[str] = []
    run(network, path, "int8", say=said.append)
    assert [line.split(":")[0].split(" loss")[0] for line in said] == [
        "fp32 graph against PyTorch",
        "int8",
        "replay sample repeated bit for bit",
    ]


def test_a_text_that_is_too_short_is_refused(network: Network, path: Path) -> None:
    with pytest.raises(ExportError, match="has 255 characters; it needs at least 256"):
        run(network, path, text=TEXT[: MIN_CHARACTERS - 1])
    assert_untouched(path)


def test_a_text_of_the_shortest_length_is_enough(network: Network, path: Path) -> None:
    run(network, path, text=TEXT[:MIN_CHARACTERS])
    assert Runner(path).description.checks.characters == MIN_CHARACTERS


def test_a_text_of_another_alphabet_is_refused(network: Network, path: Path) -> None:
    with pytest.raises(UnknownCharacterError, match=r"'가' \(U\+AC00\) at offset 300"):
        run(network, path, text=TEXT[:300] + "가")
    assert_untouched(path)


def test_a_missing_folder_is_refused(network: Network, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="none is not a folder"):
        run(network, tmp_path / "none" / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@PRECISIONS
def test_a_graph_that_is_off_pytorch_is_refused(network: Network, path: Path, precision: Precision) -> None:
    # The network now computes something that its weights don't show, so the graph can't match it.
    network.readout.register_forward_hook(lambda module, inputs, logits: logits * 1.01)
    with pytest.raises(ExportError, match=r"fp32 graph is off PyTorch by .* nats"):
        run(network, path, precision)
    assert_untouched(path)


def test_a_graph_that_drifts_from_pytorch_after_the_first_call_is_refused(network: Network, path: Path) -> None:
    (layer,) = network.layers
    layer.register_forward_hook(lambda module, inputs, outputs: (outputs[0], (outputs[1][0], outputs[1][1] * 1.01)))
    with pytest.raises(ExportError, match="fp32 graph is off PyTorch"):
        run(network, path)
    assert_untouched(path)


@PRECISIONS
def test_a_network_that_diverged_is_refused(network: Network, path: Path, precision: Precision) -> None:
    with torch.no_grad():
        network.readout.weight[3, 3] = np.nan
    with pytest.raises(ExportError, match="off PyTorch by nan"):
        run(network, path, precision)
    assert_untouched(path)


def test_int8_that_loses_too_much_is_refused(network: Network, path: Path) -> None:
    lean_on_a_state_between_two_steps(network)
    with pytest.raises(ExportError, match=r"int8 costs \d+\.\d+ nats per character; at most 0.01 is accepted"):
        run(network, path, "int8")
    assert_untouched(path)


def test_a_network_that_int8_would_hurt_can_be_exported_in_fp32(network: Network, path: Path) -> None:
    lean_on_a_state_between_two_steps(network)
    run(network, path, "fp32")
    assert Runner(path).replay().exact


@pytest.mark.parametrize("check", [0, 1, 2])
def test_an_interrupted_export_leaves_the_old_file(network: Network, path: Path, check: int) -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        if len(said) > check:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(network, path, "int8", say=interrupt)
    assert_untouched(path)
