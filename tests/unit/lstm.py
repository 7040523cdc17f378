"""An LSTM language model in NumPy, gate by gate: the reference that is read, not run fast.

Equations of Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000), in float64.
Shapes: B sequences, T characters, V ids, E embedding size, H hidden size, L layers.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_probabilities(
    weights: Mapping[str, NDArray[np.float32]], ids: NDArray[np.int64], hidden: Array, cell: Array
) -> tuple[Array, Array, Array]:
    """Log-probabilities [T, B, V] of the id after each of ``ids`` [T, B], and the states [L, B, H] after the last."""
    given = []
    hidden, cell = hidden.copy(), cell.copy()
    for id_ in ids:
        x = weights["embedding.weight"][id_].astype(np.float64)  # (B, E)
        for n in range(len(hidden)):
            matrix = np.hstack([weights[f"layers.{n}.weight_ih_l0"], weights[f"layers.{n}.weight_hh_l0"]])
            bias = weights[f"layers.{n}.bias_ih_l0"].astype(np.float64) + weights[f"layers.{n}.bias_hh_l0"]
            gates = np.hstack([x, hidden[n]]) @ matrix.T + bias  # (B, 4H)
            i, f, g, o = np.split(gates, 4, axis=1)  # input, forget, candidate, output
            cell[n] = sigmoid(f) * cell[n] + sigmoid(i) * np.tanh(g)
            hidden[n] = sigmoid(o) * np.tanh(cell[n])
            x = hidden[n]
        logits = x @ weights["readout.weight"].T + weights["readout.bias"]  # (B, V)
        given.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return np.stack(given), hidden, cell


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-x))
