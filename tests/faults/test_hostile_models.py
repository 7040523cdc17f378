"""Hostile model files: sealed and with our description, but with a graph that does more than ours. None is opened."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from nextchar_model.seal import sealed
from tests.support.model_files import refusal, with_description, with_graph
from tests.support.tiny_model import TinyModel

NOT_OURS = "not a nextchar model, or damaged: "
ANOTHER = "its program is not one that nextchar writes"


def node(model: ModelProto, operator: str) -> NodeProto:
    """Returns the first node of ``operator``, in whatever graph it is."""

    def search(graph: GraphProto) -> NodeProto | None:
        for one in graph.node:
            if one.op_type == operator:
                return one
            for attribute in one.attribute:
                if attribute.type == AttributeProto.GRAPH and (found := search(attribute.g)):
                    return found
        return None

    found = search(model.graph)
    assert found is not None
    return found


def body(model: ModelProto, operator: str) -> GraphProto:
    """Returns the graph in the first node of ``operator``."""
    return next(one.g for one in node(model, operator).attribute if one.type == AttributeProto.GRAPH)


def tensor(model: ModelProto, name: str) -> TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def make_external(one: TensorProto) -> None:
    """Moves the content of ``one`` to a file beside the model, as ONNX allows."""
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": "0", "length": "16"}.items():
        one.external_data.add(key=key, value=value)


def constant(name: str) -> TensorProto:
    return numpy_helper.from_array(np.zeros(4, np.float32), name)


def add_constant(graph: GraphProto, *, external: bool = False, sparse: bool = False) -> None:
    """Adds an operator that holds a tensor to ``graph``."""
    one = graph.node.add(op_type="Constant", output=["extra"])
    if sparse:
        value = helper.make_sparse_tensor(constant("values"), numpy_helper.from_array(np.arange(4)), [100])
        one.attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=value)
        return
    one.attribute.add(name="value", type=AttributeProto.TENSOR, t=constant("value"))
    if external:
        make_external(one.attribute[0].t)


def add_initializer(graph: GraphProto) -> None:
    graph.initializer.append(constant("extra"))
    make_external(graph.initializer[-1])


def add_function(model: ModelProto, domain: str, name: str) -> None:
    """Adds a function, which would stand in for the operator of that name."""
    function = helper.make_function(
        domain, name, ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], [helper.make_opsetid("", 20)]
    )
    model.functions.append(function)


def repeat_for_ever(model: ModelProto) -> None:
    loop = node(model, "Loop")
    loop.input[0] = "for_ever"
    model.graph.initializer.append(numpy_helper.from_array(np.array(2**62), "for_ever"))


def repeat_as_often_as_a_weight_says(model: ModelProto) -> None:
    node(model, "Loop").input[0] = "alphabet_size"


def loop_in_a_loop(model: ModelProto) -> None:
    inner = NodeProto()
    inner.CopyFrom(node(model, "Loop"))
    body(model, "Scan").node.append(inner)


def nest(model: ModelProto) -> None:
    """Puts graphs into one another, deeper than any reader's stack."""
    inner = body(model, "If")
    for _ in range(20):
        outer = GraphProto()
        one = outer.node.add(op_type="If", input=["restricts"])
        one.attribute.add(name="then_branch", type=AttributeProto.GRAPH, g=inner)
        inner = outer
    node(model, "If").attribute[0].g.CopyFrom(inner)


def enlarge(model: ModelProto) -> None:
    """Says that a tensor has more elements than memory, with its content in no field at all."""
    one = tensor(model, "ranks")
    one.dims[:] = [2**40]
    one.ClearField("raw_data")


def in_numbers(model: ModelProto) -> None:
    one = tensor(model, "zero")
    one.ClearField("raw_data")
    one.float_data.append(0.0)


def put(model: ModelProto, name: str, values: np.ndarray) -> None:
    tensor(model, name).CopyFrom(numpy_helper.from_array(values, name))


def grow_table(model: ModelProto) -> None:
    put(model, "rows_table", np.zeros((10**4, 192), np.float32))


def double(model: ModelProto) -> None:
    """Adds a chain of which each value is twice as long as the one before."""
    before = "ranks"
    for step in range(40):
        model.graph.node.append(helper.make_node("Concat", [before, before], [f"twice_{step}"], axis=0))
        before = f"twice_{step}"


def swap_layers(model: ModelProto) -> None:
    for one in body(model, "Scan").node:
        one.input[:] = [name.replace("hidden_0", "hidden_1") for name in one.input]


def repeat_state(model: ModelProto) -> None:
    stack = next(one for one in model.graph.node if list(one.output) == ["new_hidden"])
    stack.input.extend([stack.input[1]] * 100)


def expand(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20]), "huge"))
    model.graph.node.append(helper.make_node("Expand", ["zero", "huge"], ["extra"]))


def rename(operator: str, other: str, domain: str = "") -> Callable[[ModelProto], None]:
    def edit(model: ModelProto) -> None:
        one = node(model, operator)
        one.op_type, one.domain = other, domain

    return edit


HOSTILE: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "external weights": (
        lambda model: make_external(tensor(model, "logits_weight")),
        "a tensor has external data, which no model file has",
    ),
    "external data in a loop": (lambda model: add_initializer(body(model, "Loop")), "a graph has tensors of its own"),
    "external data in a scan": (lambda model: add_initializer(body(model, "Scan")), "a graph has tensors of its own"),
    "external data in a branch": (lambda model: add_initializer(body(model, "If")), "a graph has tensors of its own"),
    "a constant": (lambda model: add_constant(model.graph), "an attribute has a tensor"),
    "an external constant": (
        lambda model: add_constant(body(model, "If"), external=True),
        "an attribute has a tensor",
    ),
    "a sparse constant": (
        lambda model: add_constant(body(model, "If"), sparse=True),
        "an attribute has a sparse tensor",
    ),
    "a sparse tensor": (lambda model: model.graph.sparse_initializer.add(dims=[3]), "the graph has sparse tensors"),
    "a function": (lambda model: add_function(model, "", "Tanh"), "the file has functions"),
    "a function of another domain": (
        lambda model: add_function(model, "com.microsoft", "Tanh"),
        "the file has functions",
    ),
    "a training": (lambda model: model.training_info.add(), "the file has a training graph"),
    "another operator set": (lambda model: setattr(model.opset_import[0], "version", 2**62), ANOTHER),
    "another domain": (lambda model: model.opset_import.add(domain="ai.onnx.contrib", version=1), ANOTHER),
    "an operator of a library": (rename("Tanh", "PyOp", "ai.onnx.contrib"), ANOTHER),
    "an operator of onnxruntime": (rename("Tanh", "QMoE", "com.microsoft"), ANOTHER),
    "an operator without a domain": (rename("MatMulIntegerToFloat", "MatMulIntegerToFloat"), ANOTHER),
    "a random operator": (rename("Tanh", "RandomNormalLike"), ANOTHER),
    "a name of control characters": (rename("Tanh", "\n\x1b[31m" * 99), ANOTHER),
    "an overload": (lambda model: setattr(node(model, "Tanh"), "overload", "x"), "a node has a field 8"),
    "a loop without an end": (repeat_for_ever, ANOTHER),
    "a loop of another length": (repeat_as_often_as_a_weight_says, ANOTHER),
    "a loop in a loop": (loop_in_a_loop, ANOTHER),
    "a deep graph": (nest, "is nested too deep"),
    "a tensor without an end": (enlarge, "the tensor 'ranks' has 0 bytes; its shape and type say another number"),
    "a tensor of negative size": (lambda model: tensor(model, "ranks").dims.append(-1), "the tensor 'ranks' has 2"),
    "a tensor of strings": (lambda model: setattr(tensor(model, "zero"), "data_type", 8), "the tensor 'zero' has 4"),
    "a tensor in another encoding": (in_numbers, "a tensor has a field 4"),
    "a tensor of another shape": (lambda model: tensor(model, "gates_0_scale").dims.append(1), "has 2 dimensions"),
    "a long tensor": (lambda model: put(model, "ranks", np.arange(10**5)), "'ranks' holds other numbers"),
    "a huge number": (lambda model: put(model, "whole_alphabet", np.array([2**40])), "holds other numbers than its"),
    "a negative number": (lambda model: put(model, "last", np.array([-(2**63)])), "'last' holds other numbers than"),
    "a huge shape": (lambda model: put(model, "axis_2", np.array([20, 20, 20, 20])), "'axis_2' holds other numbers"),
    "a table of another alphabet": (grow_table, "in tables; its description says"),
    "a value that doubles": (double, ANOTHER),
    "a value expanded without an end": (expand, ANOTHER),
    "layers in another order": (swap_layers, ANOTHER),
    "a state a hundred times": (repeat_state, ANOTHER),
    "a step that reads another value": (lambda model: node(model, "Scan").input.reverse(), ANOTHER),
    "an attribute of another value": (lambda model: setattr(node(model, "Concat").attribute[0], "i", 0), ANOTHER),
    "a comment": (lambda model: setattr(model, "doc_string", "x"), "the file has a field 6"),
    "a name twice": (
        lambda model: model.graph.initializer.append(tensor(model, "logits_weight")),
        "in tables; its desc",
    ),
}


@pytest.mark.parametrize(("edit", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_graph_that_does_more_than_ours_is_refused_before_onnxruntime_sees_it(
    tiny: TinyModel,
    tmp_path: Path,
    edit: Callable[[ModelProto], object],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    message = refusal(with_graph(tiny.int8, tmp_path / "model.onnx", edit))
    assert message.startswith(NOT_OURS)
    assert problem in message


@pytest.mark.parametrize(
    "make",
    [
        lambda entry: entry + entry,
        lambda entry: entry + sealed(b"")[:-64] + b"0" * 64,
        lambda entry: entry + b"\x72\x0e\x0a\x0aort_config\x12\x00",
    ],
    ids=["a description twice", "a seal twice", "settings of onnxruntime"],
)
def test_metadata_that_readers_may_take_differently_is_refused(
    tiny: TinyModel, tmp_path: Path, make: Callable[[bytes], bytes]
) -> None:
    content = tiny.int8.read_bytes()[: -len(sealed(b""))]
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    graph = model.SerializeToString(deterministic=True)
    assert content.startswith(graph)
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed(graph + make(content[len(graph) :])))
    assert "damaged" in refusal(path)


def test_metadata_that_is_not_utf_8_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = with_description(tiny.int8, tmp_path / "model.onnx", lambda text: b"\xed\xa0\x80\xff\xfe")
    assert refusal(path).endswith("of another kind: its metadata is not UTF-8: byte 0xed")


def test_100_megabytes_of_metadata_are_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = with_description(tiny.int8, tmp_path / "model.onnx", lambda text: text + " " * 10**8)
    assert refusal(path) == "the model's description is damaged: it is larger than 4194304 bytes"


@pytest.mark.no_cover
def test_a_file_of_many_tiny_fields_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(sealed(b"\x08\x0a" * 10**6))
    assert refusal(path).endswith("it has too many fields")


def test_content_that_names_another_format_is_still_read_as_onnx(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def note(content: bytes, options: onnxruntime.SessionOptions, **rest: object) -> None:
        seen.append(options.get_session_config_entry("session.load_model_format"))
        raise RuntimeError("not opened")

    monkeypatch.setattr(onnxruntime, "InferenceSession", note)

    def disguise(model: ModelProto) -> None:
        model.producer_name = "ORTM"  # the mark of onnxruntime's own format, at its place

    path = with_graph(tiny.int8, tmp_path / "model.onnx", disguise)
    assert path.read_bytes()[4:8] == b"ORTM"
    assert refusal(path) == "onnxruntime can't open it: not opened"
    assert seen == ["ONNX"]
