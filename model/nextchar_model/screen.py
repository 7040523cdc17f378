"""The screen: looks through a model file before onnxruntime opens it, and lets only our own graphs pass.

``file`` calls it. ONNX can do more than a recurrent network needs: tensors that are read from other files, functions,
operators that a library adds, loops without end, values larger than memory. A file that holds another program than
those of ``nextchar_training.export.graph``, or other sizes than those of its description, is refused here.

Invariant: a graph that passes reads nothing but the file itself and its inputs, takes as many steps as it reads and
chooses ids, and needs the memory that its description and its inputs say.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from .cell import ROW_BLOCKS
from .description import ModelDescription
from .draws import DRAW_COLUMNS
from .program import PROGRAMS, digest
from .wire import Allowance, Message, Schema, WireError, fields, read

PRODUCER = b"nextchar"

_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}  # of float, uint8, int8, int32, int64 and bool, by ONNX's numbers
_INT64 = 7
_ITEM_TYPES = {1: "<f4", 2: "u1", 3: "i1"}  # of weights, scales and tables
_MAX_RANK = 4  # dimensions of a value in our graphs, and so the most numbers of a shape

_MAX_FIELDS = 500_000  # of a file; ours have some 1,600, and 200 more for each further layer
_MAX_DEPTH = 20  # of messages: an attribute's graph in a node in a graph, five times

_PRODUCER_FIELD, _GRAPH_FIELD, _METADATA_FIELD = 2, 7, 14  # of a file

_ENTRY = Schema("an entry of the metadata", {1: ("key", bytes), 2: ("value", bytes)})
_OPSET = Schema("an operator set", {1: ("domain", bytes), 2: ("version", int)})
_VALUE = Schema("an input or output", {1: ("name", bytes), 2: ("type", bytes)})
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
    {1: ("node*", _NODE), 2: ("name", bytes), 11: ("input*", _VALUE), 12: ("output*", _VALUE), 13: ("value*", bytes)},
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
        model = _read(content)
    except WireError as error:
        raise ScreenError(str(error)) from error
    if digest(model, description.layers) not in PROGRAMS:
        raise ScreenError("its program is not one that nextchar writes; a later version may have exported it")
    _check_tensors(model["graph"][0].get("tensor", []), description)


def tensors_of(content: memoryview) -> dict[str, NDArray[np.generic]]:
    """Returns the tensors of the graph in ``content``, which has passed ``screen``, by their names."""
    return {
        tensor["name"][0].decode(): np.frombuffer(tensor["data"][0], _ITEM_TYPES[tensor["type"][0]]).reshape(
            tensor.get("dims", [])
        )
        for tensor in _read(content)["graph"][0].get("tensor", [])
        if tensor["type"][0] in _ITEM_TYPES
    }


def program_of(content: memoryview, layers: int) -> str:
    """Returns the digest of the program in ``content``, whose network has ``layers`` layers. Raises ``WireError``."""
    return digest(_read(content), layers)


def _read(content: memoryview) -> Message:
    return read(content, _MODEL, Allowance(fields=_MAX_FIELDS, depth=_MAX_DEPTH))


def _check_tensors(tensors: list[Message], description: ModelDescription) -> None:
    elements = {"weight": 0, "table": 0}
    for tensor in tensors:
        name, data = (tensor.get(part, [b""])[0] for part in ("name", "data"))
        shown = repr(name[:60].decode(errors="replace"))
        shape, kind = tensor.get("dims", []), tensor.get("type", [0])[0]
        if prod(shape) * _ITEM_BYTES.get(kind, -1) != len(data):
            raise ScreenError(f"the tensor {shown} has {len(data)} bytes; its shape and type say another number")
        last = name.decode(errors="replace").rpartition("_")[2]
        if len(shape) > (2 if last in elements else 1):
            raise ScreenError(f"the tensor {shown} has {len(shape)} dimensions, which is too many")
        if last in elements:
            elements[last] += prod(shape)
        if kind == _INT64:
            _check_numbers(np.frombuffer(data, "<i8"), shown, description)
    _check_sizes(elements["weight"], elements["table"], description)


def _check_numbers(numbers: NDArray[np.int64], shown: str, description: ModelDescription) -> None:
    """Whole numbers become shapes, places and lengths, so they decide how much memory a step takes."""
    V = description.alphabet.size
    sizes = np.abs(numbers.astype(np.float64))
    if len(numbers) <= _MAX_RANK:
        fits = np.maximum(sizes, 1).prod() <= max(V + DRAW_COLUMNS, description.layers)
    else:
        fits = len(numbers) == V and sizes.max() < V  # the ranks of the alphabet
    if not fits:
        raise ScreenError(f"the tensor {shown} holds other numbers than its alphabet needs")


def _check_sizes(weights: int, table: int, description: ModelDescription) -> None:
    """``weights`` and ``table`` are the numbers of elements of the graph's matrices and tables."""
    V, E, H = description.alphabet.size, description.embedding_size, description.hidden_size
    rows, above = ROW_BLOCKS[description.cell] * H, (description.layers - 1) * 2 * H
    # The first layer's input weights are in a table unless the alphabet is large (see ``export.layers``).
    expected = (H * V + rows * (H + above), V * rows) if H >= V else (H * V + rows * (H + E + above), V * E)
    if (weights, table) != expected:
        raise ScreenError(
            f"the graph has {weights} weights, and {table} in tables; "
            f"its description says {expected[0]}, and {expected[1]}"
        )
    parameters = V * E + rows * (E + H + above) + 2 * rows * description.layers + H * V + V
    if description.parameters != parameters:
        raise ScreenError(f"its description says {description.parameters} parameters; its sizes make {parameters}")
