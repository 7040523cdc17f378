import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_training.data.rules import Rules
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture, Recipe
from nextchar_training.run.checkpoint import (
    Checkpoint,
    CheckpointError,
    TrainingRecord,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)

RECORD = TrainingRecord(
    corpus="a b",
    sources=("a", "b"),
    corpus_sha256="0" * 64,
    rules=Rules(documents="line", alphabet="jamo", minimum_count=2),
    characters=100,
    command="nextchar-train fit a b",
    seed=1,
    step=10,
    epoch=0.5,
    seconds=1.5,
    training_loss=2.5,
    validation_loss=2.25,
    recipe=Recipe(epochs=1),
)

BEFORE = Path(__file__).parents[2] / "compatibility"
"""Files that the release before wrote."""

CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


def make(*, layers: int = 2, cell: Cell = "lstm") -> Checkpoint:
    alphabet = Alphabet.of("abcé\n")
    architecture = Architecture(alphabet_size=alphabet.size, hidden_size=8, layers=layers, embedding_size=4, cell=cell)
    return Checkpoint(architecture, alphabet, Network(architecture).state_dict(), RECORD)


@CELLS
def test_loaded_checkpoint_equals_the_saved_one(tmp_path: Path, cell: Cell) -> None:
    saved = make(cell=cell)
    save_checkpoint(saved, tmp_path / "c.pt")
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert (loaded.architecture, loaded.alphabet, loaded.record) == (saved.architecture, saved.alphabet, saved.record)
    assert loaded.weights.keys() == saved.weights.keys()
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in saved.weights.items())


@CELLS
@torch.no_grad()
def test_loaded_network_computes_the_same_logits_as_the_saved_one(tmp_path: Path, cell: Cell) -> None:
    saved = make(cell=cell)
    save_checkpoint(saved, tmp_path / "c.pt")
    ids = torch.tensor([[0], [1], [2]])
    networks = [saved.network(), load_checkpoint(tmp_path / "c.pt").network()]
    first, second = (network(ids, network.initial_state(1))[0] for network in networks)
    assert torch.equal(first, second)


def test_losses_of_the_whole_text_are_kept(tmp_path: Path) -> None:
    record = replace(RECORD, stateful_loss=1.5, windows_loss=1.75)
    save_checkpoint(replace(make(), record=record), tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt").record == record


def test_saving_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    save_checkpoint(make(layers=1), tmp_path / "c.pt")
    save_checkpoint(make(layers=2), tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt").architecture.layers == 2
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("kept", [0, 1, 100, 2000, -1])
def test_truncated_file_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(make(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"c\.pt: "):
        load_checkpoint(path)


def test_changed_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoint = make()
    weight = checkpoint.weights["readout.weight"]
    save_checkpoint(checkpoint, path)
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"c\.pt: "):
        load_checkpoint(path)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_text("First Citizen:\n" * 50)
    with pytest.raises(CheckpointError, match=r"c\.pt: not a checkpoint but a text"):
        load_checkpoint(tmp_path / "c.pt")


def test_tensors_of_another_program_are_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.zeros(3)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt: not a nextchar checkpoint, but a file of another program"):
        load_checkpoint(tmp_path / "c.pt")


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_file_is_not_run(tmp_path: Path, write: Any) -> None:
    write(Touch(tmp_path / "touched"), tmp_path / "c.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "touched").exists()


def change(path: Path, key: str, value: object) -> None:
    """Changes one entry of a checkpoint file."""
    content = torch.load(path, weights_only=True)
    content[key] = value
    torch.save(content, path)


def test_another_version_is_named(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "c.pt")
    change(tmp_path / "c.pt", "version", 99)
    with pytest.raises(CheckpointError, match="checkpoint version 99; this release reads 2"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weights", {}),
        ("weights", make(layers=1).weights),
        ("weights", None),
        ("architecture", {"alphabet_size": 0}),
        ("architecture", {}),
        ("alphabet", {"kind": "characters", "symbols": ["b", "a"]}),
        ("alphabet", {"kind": "characters", "symbols": ["a", "b"]}),
        ("record", {}),
        ("record", None),
    ],
)
def test_inconsistent_content_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    save_checkpoint(make(), tmp_path / "c.pt")
    change(tmp_path / "c.pt", key, value)
    with pytest.raises(CheckpointError, match=r"c\.pt: "):
        load_checkpoint(tmp_path / "c.pt")


def test_damaged_field_is_named(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "c.pt")
    change(tmp_path / "c.pt", "architecture", {"alphabet_size": 0})
    with pytest.raises(CheckpointError, match=r"damaged: architecture\.alphabet_size: 0 is invalid; it must be"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("name", ["model.onnx", "model.pt"])
def test_model_file_is_told_from_a_checkpoint(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((BEFORE / "model.onnx").read_bytes())
    with pytest.raises(
        CheckpointError, match=r"not a checkpoint but a model file; give a checkpoint \(\.pt\) or a run"
    ):
        load_checkpoint(path)


def test_snapshot_is_told_from_a_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="not a nextchar checkpoint but a nextchar stopped run"):
        load_checkpoint(BEFORE / "stopped.pt")


def test_checkpoint_of_the_release_before_is_read() -> None:
    checkpoint = load_checkpoint(BEFORE / "best.pt")
    assert checkpoint.architecture == Architecture(alphabet_size=21, hidden_size=8, embedding_size=4)
    assert checkpoint.record.rules == Rules(documents="line", verbatim=True)
    assert checkpoint.record.stateful_loss == pytest.approx(1.188778, abs=1e-6)
    assert checkpoint.record.recipe is None


def test_run_folder_means_its_best_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(make(), tmp_path / "best.pt")
    assert find_checkpoint(tmp_path) == tmp_path / "best.pt"


def test_file_means_itself(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "c.pt") == tmp_path / "c.pt"


def test_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"this folder has no best\.pt; give a checkpoint"):
        find_checkpoint(tmp_path)


def test_model_file_in_the_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"m\.onnx: not a checkpoint but a model file"):
        find_checkpoint(tmp_path / "m.onnx")


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "missing.pt")
