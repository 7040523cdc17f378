"""The limits: the cost of the arithmetic of a step, and of everything else that it does.

Measures each node of a step alone, and the machine's memory, and compares the step with them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.kernel import K, steps_of
from benchmarks.models import WIDE, model_file, name_of
from benchmarks.report import table
from benchmarks.timing import interleave
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.providers import session_options
from nextchar_model.runner import Runner
from nextchar_training.export.graph import IR_VERSION, OPSET

TITLE = "Limits, and a profile of one step"
SECONDS = 3.0
_REPEATS = 500
_PRODUCTS = ("MatMulIntegerToFloat", "MatMul", "Gemm")
_COPIED = 256 * 2**20  # bytes, far beyond every cache

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Node:
    """One node of a step, and the seconds that it takes alone."""

    operator: str
    output: str
    seconds: float


def measure(folder: Path) -> str:
    """Measures the limits and returns the section of the results."""
    source = np.random.default_rng(0).random(_COPIED // 8)
    target = np.empty_like(source)
    copied = interleave({"copy": lambda: np.copyto(target, source)}, seconds=1)["copy"]
    parts = [
        f"Memory: a NumPy copy of {_COPIED >> 20} MiB reads and writes {2 * _COPIED / copied / 1e9:.1f} GB/s in all.",
        "Each node of the optimized graph is timed alone, in a loop of its own with the inputs that it has in a real "
        "step, and the time of an empty loop is subtracted. The limit of a graph of these operators is its arithmetic: "
        "the products, sigmoids and tanhs. The rest of a step is the sampler, the copies, and onnxruntime's own work "
        "for each node. onnxruntime's profiler is less exact than the nodes alone: it adds about 1 µs to every node, "
        "and its own use of memory makes large outputs (`gates_0`, `rows`) come from fresh pages.",
    ]
    rows, profiles = [], []
    for precision in ("int8", "fp32"):
        path = model_file(folder, WIDE, precision)
        for B in (1, 64):
            runner = Runner(path)
            nodes = nodes_alone(path, B)
            step = interleave({"step": steps_of(runner, B)}, seconds=SECONDS)["step"] / K
            products, sigmoids, tanhs = (
                sum(node.seconds for node in nodes if node.operator in operators)
                for operators in (_PRODUCTS, ("Sigmoid",), ("Tanh",))
            )
            limit = products + sigmoids + tanhs
            operations = 2 * B * WIDE.hidden_size * (4 * WIDE.hidden_size + WIDE.alphabet_size)
            rows.append(
                [
                    f"{precision}, B={B}",
                    *(f"{value * 1e6:.1f}" for value in (products, sigmoids, tanhs, limit, step)),
                    f"{limit / step:.0%}",
                    f"{operations / products / 1e9:,.0f}",
                    f"{3 * B * WIDE.hidden_size / sigmoids / 1e9:.2f}",
                    f"{2 * B * WIDE.hidden_size / tanhs / 1e9:.2f}",
                ]
            )
            if precision == "int8":
                profiles.append(_profile_table(path, B, nodes, step))
    return "\n\n".join(
        [
            *parts,
            table(
                [
                    name_of(WIDE),
                    "products, µs",
                    "3 sigmoids, µs",
                    "2 tanhs, µs",
                    "limit, µs",
                    "step, µs",
                    "limit / step",
                    "products, 10⁹ operations/s",
                    "sigmoid, 10⁹/s",
                    "tanh, 10⁹/s",
                ],
                rows,
            ),
            *profiles,
        ]
    )


def _profile_table(path: Path, B: int, nodes: Sequence[Node], step: float) -> str:
    profiled = _profiled(path, B)
    total = sum(node.seconds for node in nodes)
    in_profile = sum(profiled[node.output] for node in nodes)
    rows = [
        [
            node.operator,
            f"`{node.output}`",
            f"{node.seconds * 1e6:.2f}",
            f"{node.seconds / step:.1%}",
            f"{profiled[node.output] * 1e6:.2f}",
        ]
        for node in sorted(nodes, key=lambda node: -node.seconds)
    ]
    rows.append(["all nodes", "", f"{total * 1e6:.1f}", f"{total / step:.0%}", f"{in_profile * 1e6:.1f}"])
    rows.append(["step", "", f"{step * 1e6:.1f}", "100 %", ""])
    return f"int8, B={B}, node by node:\n\n" + table(
        ["operator", "output", "alone, µs", "share of a step", "in onnxruntime's profile, µs"], rows
    )


def _profiled(path: Path, B: int) -> dict[str, float]:
    """Returns the mean seconds of each node of a step by its first output, according to onnxruntime's profiler."""
    model = onnx.load(path)
    choice, branch = _choice(model)
    for node in [*_body(model).node, *branch.node]:
        node.name = node.output[0]  # the profiler identifies a node by its name
    options = session_options(1)
    options.enable_profiling = True
    options.profile_file_prefix = str(path.with_suffix(""))
    runner = Runner(path)
    runner._session = _session(model, options)
    call = steps_of(runner, B)
    calls = 20
    for _ in range(calls):
        call()
    seconds: defaultdict[str, float] = defaultdict(float)
    for event in json.loads(Path(runner._session.end_profiling()).read_text(encoding="utf-8")):
        seconds[event["name"].removesuffix("_kernel_time")] += event["dur"] / 1e6 / calls / K
    seconds[choice.output[0]] -= sum(seconds[node.output[0]] for node in branch.node)  # its own time includes these
    return seconds


def nodes_alone(path: Path, B: int) -> list[Node]:
    """Times every node of a step of the model file at ``path`` alone, with B rows."""
    optimized = path.with_suffix(".optimized.onnx")
    options = session_options(1)
    options.optimized_model_filepath = str(optimized)
    _session(onnx.load(path), options)
    model = onnx.load(optimized)
    values = _values(path, model, B)
    empty = interleave({"": _repeated(None, values, [])}, seconds=0.5)[""]

    def alone(node: onnx.NodeProto) -> float:
        call = _repeated(node, values, model.graph.initializer)
        return max(interleave({"": call}, seconds=0.1)[""] - empty, 0.0) / _REPEATS

    choice, branch = _choice(model)
    inside = [Node(node.op_type, node.output[0], alone(node)) for node in branch.node]
    outside = [Node(node.op_type, node.output[0], alone(node)) for node in _body(model).node if node != choice]
    itself = alone(choice) - sum(node.seconds for node in inside)
    return [*outside, *inside, Node("If", choice.output[0], max(itself, 0.0))]


def _values(path: Path, model: onnx.ModelProto, B: int) -> dict[str, Array]:
    """Returns every input and output of the nodes of a step in mid-text, by name."""
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    body = _body(model)
    before = list(model.graph.node)[: list(model.graph.node).index(scan)]
    # The state is passed on unchanged; of the scanned inputs, the first step is.
    enter = [
        helper.make_node("Gather", [outer, "first_step"], [inner.name], axis=0)
        if inner.name in ("forced_id", "draw")
        else helper.make_node("Identity", [outer], [inner.name])
        for outer, inner in zip(scan.input, body.input, strict=True)
    ]
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    del flat.graph.node[:], flat.graph.output[:]
    flat.graph.node.extend([*before, *enter, *_step(model)])
    names = [name for node in flat.graph.node for name in node.output]
    flat.graph.initializer.append(numpy_helper.from_array(np.array(0), "first_step"))
    flat.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    runner = Runner(path)
    batch = runner.start([SamplingSettings()] * B)
    rows = np.random.default_rng(0)
    forced, draws = np.full((K, B), SAMPLE), rows.random((K, B), np.float32)
    runner.advance(batch, forced, draws)
    inputs = {
        "read": np.empty((0, B), np.int64),
        "forced": forced,
        "uniform": draws,
        "transitions": (free := np.zeros((1, runner.description.alphabet.size), np.int32)),
        "detours": free,
        "alternatives": np.array([0]),
        **vars(batch),
    }
    del inputs["automaton"]
    return inputs | dict(zip(names, _session(flat, session_options(1)).run(names, inputs), strict=True))


def _repeated(
    node: onnx.NodeProto | None, values: Mapping[str, Array], constants: Iterable[onnx.TensorProto]
) -> Callable[[], object]:
    """Returns a call that runs ``node``, or nothing if it is None, ``_REPEATS`` times in a loop."""
    yes = partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.BOOL, shape=[])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Identity", ["state"], ["next_state"]),  # a loop must carry something
            *([node] if node else []),
        ],
        "turn",
        [helper.make_tensor_value_info("number", onnx.TensorProto.INT64, []), yes("go"), yes("state")],
        [yes("goes_on"), yes("next_state")],
    )
    known = {constant.name: constant for constant in constants}
    read = _read_by(node) if node else set()
    inputs = {name: values[name] for name in read - known.keys()}
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Loop", ["repeats", "always", "always"], ["done"], body=body)],
            "alone",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in inputs.items()
            ],
            [yes("done")],
            [
                numpy_helper.from_array(np.array(_REPEATS), "repeats"),
                numpy_helper.from_array(np.array(True), "always"),
                *(known[name] for name in read & known.keys()),
            ],
        ),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
    )
    options = session_options(1)
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )  # it would optimize the loop away
    session = _session(model, options)
    return lambda: session.run(None, inputs)


def _step(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Returns the nodes that a step runs if no row restricts its distribution.

    The branch's nodes, and copies of its outputs, take the place of the ``If``.
    """
    choice, branch = _choice(model)
    copies = [
        helper.make_node("Identity", [inner.name], [outer])
        for inner, outer in zip(branch.output, choice.output, strict=True)
    ]
    nodes = list(_body(model).node)
    place = nodes.index(choice)
    return [*nodes[:place], *branch.node, *copies, *nodes[place + 1 :]]


def _choice(model: onnx.ModelProto) -> tuple[onnx.NodeProto, onnx.GraphProto]:
    """Returns the ``If`` of a step, and its branch for steps in which no row restricts its distribution."""
    (choice,) = (node for node in _body(model).node if node.op_type == "If")
    (branch,) = (attribute.g for attribute in choice.attribute if attribute.name == "else_branch")
    return choice, branch


def _body(model: onnx.ModelProto) -> onnx.GraphProto:
    """Returns the graph of one step."""
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    return body


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Returns the names of the values that ``node`` reads, including those that its branches capture."""
    read = {name for name in node.input if name}
    for attribute in node.attribute:
        given = {name for inner in attribute.g.node for name in inner.output}
        read |= {name for inner in attribute.g.node for name in _read_by(inner)} - given
    return read


def _session(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
