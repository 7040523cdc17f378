"""The layers: one step of an RNN, GRU or LSTM layer in ONNX text.

``graph`` puts the lines that are written here into its template. The equations are those of ``nextchar_model.cell``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nextchar_model.cell import Cell

from .precision import Writer

Weights = Mapping[str, NDArray[np.float32]]
"""A network's parameters by their PyTorch names: ``embedding.weight``, ``layers.0.weight_ih_l0``, ..."""


def recurrence(writer: Writer, weights: Weights, cell: Cell, layers: int) -> list[str]:
    """Returns the lines that compute each layer's state ``out_…_n`` from ``id`` and its state ``in_…_n``."""
    steps = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}[cell]
    lines: list[str] = []
    for n in range(layers):
        layer = Layer(writer, weights, n)
        lines += [*layer.begin, *steps(layer)]
    return lines


def _rnn(layer: Layer) -> list[str]:
    n = layer.n
    return [*layer.sums(f"sum_{n}"), *layer.writer.state(f"out_hidden_{n}", f"Tanh (sum_{n})")]


def _gru(layer: Layer) -> list[str]:
    n, H, writer = layer.n, layer.H, layer.writer
    # While the update gate is nearly 1, a state in steps of 1/127 would stand still, because its small movements would
    # be rounded away. So the state is carried in float, and products read it rounded.
    before = f"in_{writer.exact}_{n}"
    return [
        *layer.sums(f"gates_{n}", slice(0, 2 * H)),
        *layer.input_sums(f"candidate_input_{n}", slice(2 * H, None)),
        *layer.hidden_sums(f"candidate_memory_{n}", slice(2 * H, None)),
        f"open_{n} = Sigmoid (gates_{n})",
        f"reset_gate_{n}, update_gate_{n} = Split <axis = 1, num_outputs = 2> (open_{n})",
        f"let_in_{n} = Mul (reset_gate_{n}, candidate_memory_{n})",
        f"candidate_sum_{n} = Add (candidate_input_{n}, let_in_{n})",
        f"candidate_{n} = Tanh (candidate_sum_{n})",
        f"difference_{n} = Sub ({before}, candidate_{n})",
        f"remembered_{n} = Mul (update_gate_{n}, difference_{n})",
        *writer.state(f"out_hidden_{n}", f"Add (candidate_{n}, remembered_{n})", f"out_cell_{n}"),
    ]


def _lstm(layer: Layer) -> list[str]:
    n = layer.n
    return [
        *layer.sums(f"gates_{n}"),
        f"i_{n}, f_{n}, g_{n}, o_{n} = Split <axis = 1, num_outputs = 4> (gates_{n})",
        f"input_gate_{n} = Sigmoid (i_{n})",
        f"forget_gate_{n} = Sigmoid (f_{n})",
        f"candidate_{n} = Tanh (g_{n})",
        f"output_gate_{n} = Sigmoid (o_{n})",
        f"remembered_{n} = Mul (forget_gate_{n}, in_cell_{n})",
        f"added_{n} = Mul (input_gate_{n}, candidate_{n})",
        f"out_cell_{n} = Add (remembered_{n}, added_{n})",
        f"squashed_{n} = Tanh (out_cell_{n})",
        *layer.writer.state(f"out_hidden_{n}", f"Mul (output_gate_{n}, squashed_{n})"),
    ]


class Layer:
    """The weights of layer ``n``, and their products with its input x and its hidden state h.

    ``gates`` selects the rows of the weights that a product uses.
    """

    def __init__(self, writer: Writer, weights: Weights, n: int) -> None:
        V, self.H = weights["readout.weight"].shape
        self.writer, self.n = writer, n
        self._below, self._previous = weights[f"layers.{n}.weight_ih_l0"], weights[f"layers.{n}.weight_hh_l0"]
        self._input_bias, self._hidden_bias = weights[f"layers.{n}.bias_ih_l0"], weights[f"layers.{n}.bias_hh_l0"]
        self._embedding = weights["embedding.weight"]
        self._is_table = n == 0 and self.H >= V
        self._x = "embedded" if n == 0 else f"out_hidden_{n - 1}"
        self.begin: list[str] = []
        """The lines that come before any product."""
        if n == 0 and not self._is_table:
            # A large alphabet's table would be larger than the weights. So it keeps its embedding, scaled into the
            # hidden state's range so that one product can read both.
            largest = np.abs(self._embedding).max()
            self.begin = writer.row("embedded", writer.as_state(self._embedding / largest))
            self._below = self._below * largest

    def sums(self, name: str, gates: slice = slice(None)) -> list[str]:
        """Returns the lines that define ``name`` as W·x + U·h plus both biases."""
        below, previous, n = self._below[gates], self._previous[gates], self.n
        bias = self._input_bias[gates] + self._hidden_bias[gates]
        if self._is_table:
            # A one-hot vector times a matrix is a look-up: row `id` of embedding · Wᵀ + b.
            rows = self.writer.row("rows", (self._embedding @ below.T + bias).astype(np.float32))
            return [*rows, *self.writer.product(name, f"in_hidden_{n}", previous, "rows")]
        return [
            f"input_{n} = Concat <axis = 1> ({self._x}, in_hidden_{n})",
            *self.writer.product(name, f"input_{n}", np.hstack([below, previous]), bias),
        ]

    def input_sums(self, name: str, gates: slice) -> list[str]:
        """Returns the lines that define ``name`` as W·x plus its bias."""
        below, bias = self._below[gates], self._input_bias[gates]
        if self._is_table:
            return self.writer.row(name, (self._embedding @ below.T + bias).astype(np.float32))
        return self.writer.product(name, self._x, below, bias)

    def hidden_sums(self, name: str, gates: slice) -> list[str]:
        """Returns the lines that define ``name`` as U·h plus its bias."""
        return self.writer.product(name, f"in_hidden_{self.n}", self._previous[gates], self._hidden_bias[gates])
