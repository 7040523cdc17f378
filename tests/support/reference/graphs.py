"""The graph of any weights in an onnxruntime session, called directly with all its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.cell import ROW_BLOCKS, Cell, Precision, has_cell
from nextchar_model.constraints.automaton import FORBIDDEN, MOST_SLACK
from nextchar_training.export.graph import build_advance
from nextchar_training.export.layers import Weights

Array = NDArray[Any]

Shape = tuple[Cell, int, int, int, int]
"""Cell, V, E, H and L of a network."""


def random_weights(
    V: int, E: int, H: int, L: int, seed: int = 0, cell: Cell = "lstm"
) -> dict[str, NDArray[np.float32]]:
    """Returns weights of a network whose distributions are neither flat nor certain."""
    random = np.random.default_rng(seed)
    G = ROW_BLOCKS[cell]

    def normal(scale: float, *shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    weights = {"embedding.weight": normal(1.0, V, E)}
    for n in range(L):
        inputs = E if n == 0 else H
        weights[f"layers.{n}.weight_ih_l0"] = normal(1.0 / inputs**0.5, G * H, inputs)
        weights[f"layers.{n}.weight_hh_l0"] = normal(1.0 / H**0.5, G * H, H)
        weights[f"layers.{n}.bias_ih_l0"] = normal(0.2, G * H)
        weights[f"layers.{n}.bias_hh_l0"] = normal(0.2, G * H)
    weights["readout.weight"] = normal(4.0 / H**0.5, V, H)
    weights["readout.bias"] = normal(0.5, V)
    return weights


def exact_in_int8(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Returns ``weights`` rounded to values that int8 represents exactly: multiples of each row's largest / 127.

    The largest of every row is the same power of two, so that all matrices of a layer share a scale. The largest
    embedding is 1.
    """
    rounded = dict(weights)
    for name, matrix in weights.items():
        if matrix.ndim == 2:
            steps = np.rint(matrix / np.abs(matrix).max(axis=1, keepdims=True) * 127)
            rounded[name] = (steps / 127 / 4).astype(np.float32)
    rounded["embedding.weight"] = rounded["embedding.weight"] * 4
    return rounded


def constant_weights(logits: Sequence[float]) -> dict[str, NDArray[np.float32]]:
    """Returns weights of a network whose logits are always ``logits``."""
    weights = random_weights(V=len(logits), E=4, H=8, L=1)
    weights["readout.weight"] = np.zeros_like(weights["readout.weight"])
    weights["readout.bias"] = np.array(logits, np.float32)
    return weights


@dataclass
class Row:
    """One row's inputs, without its recurrent state."""

    settings: SamplingSettings = field(default_factory=SamplingSettings)
    last_id: int = 0
    automaton_state: int = 0
    slack: int = MOST_SLACK


@dataclass(frozen=True)
class State:
    """The recurrent state of B rows."""

    hidden: Array
    cell: Array


class Graph:
    """The graph ``advance`` in a session of its own."""

    V: int
    H: int

    def __init__(
        self, weights: Weights, *, cell: Cell = "lstm", precision: Precision = "fp32", threads: int = 1
    ) -> None:
        self.weights = weights
        self.cell = cell
        self.precision = precision
        self.V, self.H = weights["readout.weight"].shape
        self.L = sum(name.endswith("weight_hh_l0") for name in weights)
        self.C = self.L if has_cell(cell, precision) else 0
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            build_advance(weights, cell=cell, layers=self.L, precision=precision).SerializeToString(), options
        )

    def zero(self, B: int) -> State:
        """Returns the state at the start of a document."""
        shape = (self.L, B, self.H)
        hidden = np.full(shape, 128, np.uint8) if self.precision == "int8" else np.zeros(shape, np.float32)
        return State(hidden, np.zeros((self.C, B, self.H), np.float32))

    def random_state(self, B: int, seed: int = 1) -> State:
        """Returns a state whose numbers all differ."""
        random = np.random.default_rng(seed)
        exact = random.uniform(-0.9, 0.9, (self.L, B, self.H)).astype(np.float32)
        hidden = np.rint(exact * 127 + 128).astype(np.uint8) if self.precision == "int8" else exact
        cell = exact if self.cell == "gru" else random.uniform(-2, 2, exact.shape).astype(np.float32)
        return State(hidden, cell[: self.C])

    @cached_property
    def free(self) -> NDArray[np.int32]:
        """The automaton that allows every id."""
        return np.zeros((1, self.V), np.int32)

    def run(
        self,
        rows: Sequence[Row],
        forced: NDArray[np.int64],
        draws: NDArray[np.float32],
        *,
        state: State | None = None,
        transitions: NDArray[np.int32] | None = None,
        detours: NDArray[np.int32] | None = None,
        alternatives: int = 0,
    ) -> dict[str, Array]:
        """Runs the steps of ``forced`` and ``draws``, [K, B] each, and returns the outputs by name."""
        state = state or self.zero(len(rows))
        settings = [row.settings for row in rows]
        nothing = np.zeros(self.V, np.float32)
        names = [output.name for output in self._session.get_outputs()]
        outputs = self._session.run(
            names,
            {
                "last_id": np.array([row.last_id for row in rows], np.int64),
                "read": np.empty((0, len(rows)), np.int64),
                "forced": forced,
                "uniform": draws,
                "temperature": np.array([one.temperature for one in settings], np.float32),
                "top_k": np.array([one.top_k for one in settings], np.int64),
                "top_p": np.array([one.top_p for one in settings], np.float32),
                "min_p": np.array([one.min_p for one in settings], np.float32),
                "bias": np.stack([nothing if one.bias is None else one.bias for one in settings]),
                "transitions": (table := self.free if transitions is None else transitions),
                "detours": np.where(table < 0, np.int32(FORBIDDEN), 0) if detours is None else detours,
                "slack": np.array([row.slack for row in rows], np.int32),
                "ends_at": np.array([one.ends_at for one in settings], np.int32),
                "automaton_state": np.array([row.automaton_state for row in rows], np.int32),
                "alternatives": np.array([alternatives]),
                "hidden": state.hidden,
                "cell": state.cell,
            },
        )
        return dict(zip(names, outputs, strict=True))

    def sample(
        self, settings: SamplingSettings, draws: Sequence[float], *, state: int = 0, transitions: Array | None = None
    ) -> list[int]:
        """Returns the id that each of ``draws`` samples at the start of a document, each in a row of its own."""
        rows = [Row(settings, automaton_state=state)] * len(draws)
        forced = np.full((1, len(draws)), SAMPLE)
        ids = self.run(rows, forced, np.array([draws], np.float32), transitions=transitions)["ids"]
        return [int(id_) for id_ in ids[0]]


@cache
def graph_of(shape: Shape, precision: Precision, threads: int = 1) -> Graph:
    """Returns a graph of random weights, the same at each call."""
    cell, V, E, H, L = shape
    return Graph(random_weights(V=V, E=E, H=H, L=L, cell=cell), cell=cell, precision=precision, threads=threads)


def everything(outputs: dict[str, Array], graph: Graph) -> NDArray[np.float32]:
    """Returns the log-probabilities [K, B, V] in the order of ids, from a run with V alternatives."""
    given = np.empty((*outputs["ids"].shape, graph.V), np.float32)
    np.put_along_axis(given, outputs["top_ids"], outputs["top_logprobs"], axis=-1)
    return given
