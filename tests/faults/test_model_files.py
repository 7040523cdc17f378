"""Bad model files: each is refused in one readable line that names the file, and no other error is raised."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nextchar_model.runner import Runner
from tests.support.model_files import edited, refusal, save_sealed, with_description, with_graph
from tests.support.tiny_model import TinyModel

COMPATIBILITY = Path(__file__).parents[1] / "compatibility"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.onnx") == "can't be read: No such file or directory"


def test_a_path_below_a_file_is_refused(tiny: TinyModel) -> None:
    assert refusal(tiny.int8 / "model.onnx") == "can't be read: Not a directory"


def test_a_path_that_cannot_be_looked_up_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("a" * 300)) == "can't be read: File name too long"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a folder, not a model file: name the .onnx file itself"


def test_a_run_folder_is_refused_with_the_command_that_exports_it(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    shutil.copy(COMPATIBILITY / "best.pt", run)
    assert refusal(run) == f"is a run folder; export it first: nextchar-train export {run} --out model.onnx"


def test_the_command_quotes_a_path_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "my best.pt"
    shutil.copy(COMPATIBILITY / "best.pt", path)
    assert f"nextchar-train export '{path}' --out" in refusal(path)


def test_a_checkpoint_is_refused_with_the_command_that_exports_it() -> None:
    path = COMPATIBILITY / "best.pt"
    assert refusal(path) == f"is a training checkpoint; export it first: nextchar-train export {path} --out model.onnx"


def test_a_snapshot_is_refused_with_the_command_that_exports_its_run() -> None:
    path = COMPATIBILITY / "stopped.pt"
    assert refusal(path) == (
        f"is a snapshot of a training; export it first: nextchar-train export {path.parent} --out model.onnx"
    )


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    assert refusal(path) == "is empty, not a model file"


@pytest.mark.parametrize("text", ["ROMEO: what light\n" * 500, "아버지가 방에 " * 500, "é"])
def test_a_text_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    assert refusal(path) == "is a text file, not a model file: name the .onnx file that nextchar-train export wrote"


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert refusal(path).startswith("not a readable ONNX file, damaged, cut off or of another kind: ")


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe.onnx"
    os.mkfifo(path)
    assert refusal(path) == "is a device or a pipe, not a model file"


def test_a_device_without_an_end_is_refused() -> None:
    assert refusal(Path("/dev/zero")) == "is a device or a pipe, not a model file"


def test_a_file_larger_than_any_model_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert refusal(path) == "1099511627776 bytes; a model file has at most 2147483647"


def foreign(path: Path, metadata: dict[str, str]) -> Path:
    """Writes somebody else's model, y = relu(x), to ``path``."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    helper.set_model_props(model, metadata)
    return save_sealed(model, path)


def test_somebody_elses_model_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "relu.onnx", {"author": "somebody"})
    assert refusal(path) == "an ONNX file, but not a nextchar model: its metadata has no entry 'nextchar'"


def test_somebody_elses_graph_with_our_description_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    entry, _ = onnx.load(tiny.fp32).metadata_props
    path = foreign(tmp_path / "relu.onnx", {entry.key: entry.value})
    assert refusal(path).startswith("not a nextchar model, or damaged: its program is not one that nextchar writes; ")


def test_another_format_version_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = edited(tiny.int8, tmp_path / "new.onnx", lambda document: document.update(format_version=99))
    assert refusal(path).startswith("model file format 99; this version of nextchar reads formats 2 to 4")


def test_a_description_that_is_cut_off_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = with_description(tiny.int8, tmp_path / "cut.onnx", lambda text: text[:-20])
    assert refusal(path) == "the model's description is damaged"


def test_a_description_with_a_missing_field_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = edited(tiny.int8, tmp_path / "short.onnx", lambda document: document.pop("alphabet"))
    assert refusal(path) == "the model's description is invalid: alphabet: is required"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda document: document.update(hidden_size=49), "in tables; its description says"),
        (lambda document: document.update(layers=1), "in tables; its description says"),
        (lambda document: document.update(cell="gru"), "in tables; its description says"),
        (lambda document: document["alphabet"]["symbols"].append("가"), "holds other numbers than its alphabet needs"),
        (lambda document: document["alphabet"]["symbols"].remove("R"), "the last one is 24"),
        (lambda document: document.update(embedding_size=17), "parameters; its sizes make"),
        (lambda document: document.update(parameters=33035), "33035 parameters; its sizes make"),
    ],
    ids=["hidden_size", "layers", "cell", "a symbol more", "a symbol less", "embedding_size", "parameters"],
)
def test_a_description_of_other_sizes_than_the_graphs_is_refused(
    tiny: TinyModel, tmp_path: Path, edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    assert problem in refusal(edited(tiny.int8, tmp_path / "mixed.onnx", edit))


def test_a_description_of_another_precision_than_the_graphs_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = edited(tiny.int8, tmp_path / "mixed.onnx", lambda document: document.update(precision="fp32"))
    assert refusal(path).startswith("the graph's input hidden is ")


def test_an_empty_replay_sample_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    def empty(document: dict[str, Any]) -> None:
        document["test_vector"].update(text="", ids=[], logprobs=[])

    path = edited(tiny.int8, tmp_path / "empty.onnx", empty)
    assert refusal(path) == "the model's description is invalid: test_vector.text: '' is invalid; it must not be empty"


@pytest.mark.parametrize(
    "edit",
    [
        lambda sample: sample.update(seed=-1),
        lambda sample: sample.update(text="가" * len(sample["text"])),
        lambda sample: sample.update(logprobs=["x"] * len(sample["logprobs"])),
    ],
    ids=["seed", "text", "logprobs"],
)
def test_an_invalid_replay_sample_is_refused(
    tiny: TinyModel, tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    path = edited(tiny.int8, tmp_path / "sample.onnx", lambda document: edit(document["test_vector"]))
    assert refusal(path).startswith("the model's description is invalid: ")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_changed_weight_is_refused_by_the_replay(tiny: TinyModel, precision: str, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "gates_0_weight"]
        values = numpy_helper.to_array(weight).copy()
        values[:, ::3] = np.negative(values[:, ::3])
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))

    path = with_graph(getattr(tiny, precision), tmp_path / "changed.onnx", change)
    assert refusal(path).startswith("this machine computes the file's replay sample wrongly (off by ")


def test_a_weight_that_is_not_a_number_is_refused_by_the_replay(tiny: TinyModel, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "logits_weight"]
        values = numpy_helper.to_array(weight).copy()
        values[0, 0] = np.nan
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))

    path = with_graph(tiny.fp32, tmp_path / "nan.onnx", change)
    assert refusal(path).startswith("this machine computes the file's replay sample wrongly (off by nan nats)")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_undamaged_files_are_accepted(tiny: TinyModel, precision: str) -> None:
    assert Runner(getattr(tiny, precision)).replay().exact


def test_a_file_of_the_format_before_there_were_seals_is_accepted() -> None:
    runner = Runner(COMPATIBILITY / "model.onnx")
    assert not runner.is_sealed
    runner.replay()  # raises if this machine is off
