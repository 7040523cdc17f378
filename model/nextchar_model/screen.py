"""The screen: looks through a model file before onnxruntime opens it, and lets only graphs like our own pass.

``file`` calls it. ONNX can do more than a recurrent network needs: tensors that are read from other files, functions,
operators that a library adds, loops without end. A file that holds anything but the operators of
``nextchar_training.export.graph`` and the tensors of its own description is refused here.

Invariant: a graph that passes reads nothing but the file itself and its inputs, has the weights that its description
says, and loops once for each id that it reads or chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from .cell import ROW_BLOCKS
from .description import ModelDescription
from .wire import Allowance, Message, Schema, WireError, fields, read

PRODUCER = b"nextchar"

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}  # of float, uint8, int8, int32, int64 and bool, by ONNX's numbers
_INT64 = 7

_OPERATORS = {
    b"": frozenset(
        b"Abs Add And ArgMax Cast Concat CumSum Div Equal Expand Gather GatherElements GatherND Gemm Greater "
        b"GreaterOrEqual Identity If Less LogSoftmax Loop Max Min Mul Or Pad QuantizeLinear ReduceMax Reshape Scan "
        b"ScatterElements Shape Sigmoid Softmax Split Squeeze Sub Tanh TopK Unsqueeze Where".split()
    ),
    b"com.microsoft": frozenset({b"MatMulIntegerToFloat"}),
}
"""The operators of each domain that our graphs use."""

_MAX_FIELDS = 500_000  # of a file; ours have some 1,200, and 200 more for each further layer
_MAX_DEPTH = 16  # of messages: an attribute's graph in a node in a graph, four times

_PRODUCER_FIELD, _GRAPH_FIELD, _METADATA_FIELD = 2, 7, 14  # of a file

_ENTRY = Schema("an entry of the metadata", {1: ("key", bytes), 2: ("value", bytes)})
_OPSET = Schema("an operator set", {1: ("domain", bytes), 2: ("version", int)})
_TENSOR = Schema("a tensor", {1: ("dims*", int), 2: ("type", int), 8: ("name", bytes), 9: ("data", bytes)})
_TENSOR.fields |= {13: ("external data", None), 14: ("external data", None)}
_ATTRIBUTE = Schema("an attribute", {1: ("name", bytes), 2: ("f", bytes), 3: ("i", int), 8: ("ints*", int)})
_NODE = Schema(
    "a node",
    {
        1: ("input*", bytes),
        2: ("output*", bytes),
        3: ("name", bytes),
        4: ("operator", bytes),
        5: ("attribute*", _ATTRIBUTE),
        7: ("domain", bytes),
    },
)
_BODY = Schema(
    "a graph",
    {1: ("node*", _NODE), 2: ("name", bytes), 11: ("input*", bytes), 12: ("output*", bytes), 13: ("value*", bytes)},
)
_BODY.fields |= {5: ("tensors of its own", None), 15: ("sparse tensors", None)}
_ATTRIBUTE.fields |= {5: ("a tensor", None), 6: ("graph", _BODY), 20: ("type", int), 22: ("a sparse tensor", None)}
_GRAPH = Schema("the graph", {**_BODY.fields, 5: ("tensor*", _TENSOR)})
_MODEL = Schema(
    "the file",
    {
        1: ("ir_version", int),
        _PRODUCER_FIELD: ("producer", bytes),
        _GRAPH_FIELD: ("graph", _GRAPH),
        8: ("operators*", _OPSET),
        _METADATA_FIELD: ("metadata*", _ENTRY),
        20: ("a training graph", None),
        25: ("functions", None),
    },
)


class ScreenError(ValueError):
    """A file isn't a model file of nextchar, or its graph isn't the one that its description says."""


def metadata(content: memoryview) -> tuple[dict[str, str], bool]:
    """Returns the metadata of any ONNX file, and whether nextchar wrote the file.

    Raises ``WireError`` if the content isn't an ONNX file, or its metadata is damaged.
    """
    entries: dict[str, str] = {}
    allowance = Allowance(fields=_MAX_FIELDS, depth=_MAX_DEPTH)
    values = list(fields(content, allowance))
    if not any(number == _GRAPH_FIELD and not isinstance(value, int) for number, value in values):
        raise WireError("it has no graph")
    for number, value in values:
        if number != _METADATA_FIELD or isinstance(value, int):
            continue
        entry = read(value, _ENTRY, allowance)
        try:
            key, text = (bytes(*entry.get(part, [b""])).decode() for part in ("key", "value"))
        except UnicodeDecodeError as error:
            raise WireError(f"its metadata is not UTF-8: byte 0x{error.object[error.start]:02x}") from error
        if key in entries:
            raise WireError("its metadata has an entry twice")
        entries[key] = text
    producers = [bytes(value) for number, value in values if number == _PRODUCER_FIELD and not isinstance(value, int)]
    return entries, producers == [PRODUCER]


def screen(content: memoryview, description: ModelDescription) -> None:
    """Raises ``ScreenError`` if the graph of a model file is not one of ours, or not the one of ``description``."""
    try:
        model = read(content, _MODEL, Allowance(fields=_MAX_FIELDS, depth=_MAX_DEPTH))
    except WireError as error:
        raise ScreenError(str(error)) from error
    graph = _one(model, "graph")
    for operators in model.get("operators", []):
        if (domain := _name(operators, "domain")) not in _OPERATORS:
            raise ScreenError(f"it needs operators of {_shown(domain)}, which no model file has")
    _check_nodes(graph)
    _check_loops(graph)
    _check_tensors(graph, description)


def _check_nodes(graph: Message) -> None:
    for node in _nodes(graph):
        operator, domain = _name(node, "operator"), _name(node, "domain")
        if operator not in _OPERATORS.get(domain, ()):
            raise ScreenError(f"it has an operator {_shown(operator)}, which no model file has")


def _check_loops(graph: Message) -> None:
    """A ``Scan`` ends with its input. A ``Loop`` does only if it counts something that ends: here, the ids to read."""
    loops = [node for node in _nodes(graph) if _name(node, "operator") == b"Loop"]
    makers = {output: node for node in graph.get("node", []) for output in node.get("output", [])}
    for loop in loops:
        squeeze = makers.get(_first(loop), {})
        shape = makers.get(_first(squeeze), {})
        counts_ids = _name(squeeze, "operator") == b"Squeeze" and _name(shape, "operator") == b"Shape"
        if len(loops) > 1 or loop not in graph["node"] or not counts_ids or _first(shape) != b"read":
            raise ScreenError("it has a loop that doesn't end with the ids to read")


def _check_tensors(graph: Message, description: ModelDescription) -> None:
    """The weights must be those of the description, and whole numbers no larger than its sizes."""
    most = max(description.alphabet.size, description.layers)
    weights = 0
    for tensor in graph.get("tensor", []):
        name, data = _name(tensor, "name"), _name(tensor, "data")
        dims, kind = tensor.get("dims", []), tensor.get("type", [0])[0]
        if prod(dims) * _ITEM_BYTES.get(kind, -1) != len(data):
            raise ScreenError(f"the tensor {_shown(name)} has {len(data)} bytes; its shape and type say another number")
        if kind == _INT64 and len(data) and np.abs(np.frombuffer(data, "<i8").astype(np.float64)).max() > most:
            raise ScreenError(f"the tensor {_shown(name)} holds a number that is larger than the alphabet")
        weights += prod(dims) if name.endswith(b"_weight") else 0
    _check_sizes(weights, description)


def _check_sizes(weights: int, description: ModelDescription) -> None:
    """``weights`` is the number of all elements of the matrices in the graph."""
    V, E, H = description.alphabet.size, description.embedding_size, description.hidden_size
    rows, above = ROW_BLOCKS[description.cell] * H, (description.layers - 1) * 2 * H
    # The first layer's input weights are in a table unless the alphabet is large (see ``export.layers``).
    expected = H * V + rows * (H + (0 if H >= V else E) + above)
    if weights != expected:
        raise ScreenError(f"the graph has {weights} weights; its description says {expected}")
    parameters = V * E + rows * (E + H + above) + 2 * rows * description.layers + H * V + V
    if description.parameters != parameters:
        raise ScreenError(f"its description says {description.parameters} parameters; its sizes make {parameters}")


def _nodes(graph: Message) -> Iterator[Message]:
    """Returns all nodes of ``graph`` and of the graphs in them."""
    for node in graph.get("node", []):
        yield node
        for attribute in node.get("attribute", []):
            for body in attribute.get("graph", []):
                yield from _nodes(body)


def _one(message: Message, name: str) -> Message:
    """Returns the message in the field ``name``."""
    if name not in message:
        raise ScreenError(f"it has no {name}")
    one: Message = message[name][0]
    return one


def _name(message: Message, name: str) -> bytes:
    """Returns the bytes in the field ``name``, or none."""
    value: bytes = message.get(name, [b""])[0]
    return value


def _first(node: Message) -> bytes:
    """Returns the name of the first input of ``node``."""
    return _name(node, "input")


def _shown(name: bytes) -> str:
    return repr(name[:60].decode(errors="replace"))
