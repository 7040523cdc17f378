"""Bad model files: each is refused in one readable line that names the file, and nothing else is raised."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nextchar_model.description import METADATA_KEY, ModelFileError
from nextchar_model.runner import Runner
from tests.support.tiny_model import TinyModel


def refusal(path: Path) -> str:
    """What is said of the model file at ``path``, without its name."""
    with pytest.raises(ModelFileError) as caught:
        Runner(path).replay()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def edited(source: Path, target: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """The model file ``source`` as ``target``, its description changed by ``edit``."""
    model = onnx.load(source)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    document = json.loads(entry.value)
    edit(document)
    entry.value = json.dumps(document)
    onnx.save(model, target)
    return target


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.onnx") == "cannot be read: No such file or directory"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cannot be read: Is a directory"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_truncated_file_is_refused_wherever_it_ends(tiny: TinyModel, precision: str, tmp_path: Path) -> None:
    content = getattr(tiny, precision).read_bytes()
    path = tmp_path / "truncated.onnx"
    for length in [1, 7, 64, *range(999, len(content), 9973), len(content) - 1000, len(content) - 1]:
        path.write_bytes(content[:length])
        assert refusal(path).startswith("not a readable ONNX file, truncated or of another kind: ")


@pytest.mark.parametrize("content", [b"", b"ROMEO: what light\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(1000)])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert refusal(path).startswith("not a readable ONNX file, truncated or of another kind: ")


def foreign(path: Path, metadata: dict[str, str]) -> Path:
    """A model of somebody else's: y = relu(x)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_somebody_elses_model_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "relu.onnx", {"author": "somebody"})
    assert refusal(path) == "an ONNX file, but not a nextchar model: its metadata has no entry 'nextchar'"


def test_somebody_elses_graph_with_our_description_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    (entry,) = onnx.load(tiny.fp32).metadata_props
    path = foreign(tmp_path / "relu.onnx", {entry.key: entry.value})
    assert refusal(path).startswith("the graph gives y, not ids, ")


def test_another_format_version_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = edited(tiny.int8, tmp_path / "new.onnx", lambda document: document.update(format_version=99))
    assert refusal(path).startswith("model file format 99; this version of nextchar reads format 2")


def test_damaged_metadata_are_refused(tiny: TinyModel, tmp_path: Path) -> None:
    model = onnx.load(tiny.int8)
    model.metadata_props[0].value = model.metadata_props[0].value[:-20]
    onnx.save(model, tmp_path / "damaged.onnx")
    assert refusal(tmp_path / "damaged.onnx") == "the metadata of the model is damaged"


def test_a_description_with_a_field_missing_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = edited(tiny.int8, tmp_path / "short.onnx", lambda document: document.pop("alphabet"))
    assert refusal(path) == "the description of the model lacks 'alphabet'"


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda document: document.update(hidden_size=49), "hidden"),
        (lambda document: document.update(layers=1), "hidden"),
        (lambda document: document.update(precision="fp32"), "hidden"),
        (lambda document: document["alphabet"]["symbols"].append("가"), "bias"),
        (lambda document: document["alphabet"]["symbols"].pop(), "bias"),
    ],
    ids=["hidden_size", "layers", "precision", "a symbol more", "a symbol less"],
)
def test_a_description_of_another_graph_is_refused(
    tiny: TinyModel, tmp_path: Path, edit: Callable[[dict[str, Any]], object], named: str
) -> None:
    path = edited(tiny.int8, tmp_path / "mixed.onnx", edit)
    assert refusal(path).startswith(f"the graph takes {named} as ")


@pytest.mark.parametrize(
    "edit",
    [
        lambda vector: vector.update(text="", ids=[], logprobs=[]),
        lambda vector: vector.update(seed=-1),
        lambda vector: vector.update(text="가" * len(vector["text"])),
        lambda vector: vector.update(logprobs=["x"] * len(vector["logprobs"])),
    ],
    ids=["nothing", "seed", "text", "logprobs"],
)
def test_a_test_vector_that_can_not_be_run_is_refused(
    tiny: TinyModel, tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    path = edited(tiny.int8, tmp_path / "vector.onnx", lambda document: edit(document["test_vector"]))
    assert refusal(path).startswith("its test vector can't be run: ")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_changed_weight_is_refused_by_the_replay(tiny: TinyModel, precision: str, tmp_path: Path) -> None:
    model = onnx.load(getattr(tiny, precision))
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "gates_0_weight"]
    values = numpy_helper.to_array(weight).copy()
    values[:, ::3] = np.negative(values[:, ::3])  # every third sign
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    assert refusal(tmp_path / "changed.onnx").startswith("this machine computes its test vector wrongly (off by ")


def test_a_weight_that_is_no_number_is_refused_by_the_replay(tiny: TinyModel, tmp_path: Path) -> None:
    model = onnx.load(tiny.fp32)
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "logits_weight"]
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "nan.onnx")
    assert refusal(tmp_path / "nan.onnx").startswith("this machine computes its test vector wrongly (off by nan nats)")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_files_that_these_are_made_of_are_accepted(tiny: TinyModel, precision: str) -> None:
    assert Runner(getattr(tiny, precision)).replay().exact
