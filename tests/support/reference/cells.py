"""Language models of every cell in NumPy, gate by gate: a reference that is easy to read, not fast.

The equations are those of ``nextchar_model.cell``, in float64.
Shapes: B sequences, T characters, V ids, E embedding size, H hidden size, L layers.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nextchar_model.cell import Cell

Array = NDArray[np.float64]


def log_probabilities(
    weights: Mapping[str, NDArray[np.float32]],
    ids: NDArray[np.int64],
    hidden: Array,
    cell: Array,
    *,
    kind: Cell = "lstm",
    steps: int | None = None,
) -> tuple[Array, Array, Array]:
    """Returns the log-probabilities [T, B, V] of the id after each of ``ids`` [T, B], and the last states [L, B, H].

    ``cell`` is an LSTM's cell. With ``steps``, products read hidden states rounded to multiples of 1 / ``steps``, and
    ``cell`` is a GRU's unrounded state, before and after.
    """
    given = []
    hidden, cell = hidden.copy(), cell.copy()

    def read(values: Array) -> Array:
        return values if steps is None else np.rint(values * steps) / steps

    for id_ in ids:
        x = weights["embedding.weight"][id_].astype(np.float64)  # (B, E)
        for n, h in enumerate(hidden):
            below, previous, input_bias, hidden_bias = (
                weights[f"layers.{n}.{name}"].astype(np.float64)
                for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            )
            of_x = x @ below.T + input_bias  # (B, gates * H)
            of_h = h @ previous.T + hidden_bias
            if kind == "rnn":
                h_after = np.tanh(of_x + of_h)
            elif kind == "gru":
                (rx, zx, nx), (rh, zh, nh) = np.split(of_x, 3, axis=1), np.split(of_h, 3, axis=1)
                z, candidate = sigmoid(zx + zh), np.tanh(nx + sigmoid(rx + rh) * nh)
                h_after = (1 - z) * candidate + z * (h if steps is None else cell[n])
                if steps is not None:
                    cell[n] = h_after
            else:
                i, f, g, o = np.split(of_x + of_h, 4, axis=1)  # input, forget, candidate, output
                cell[n] = sigmoid(f) * cell[n] + sigmoid(i) * np.tanh(g)
                h_after = sigmoid(o) * np.tanh(cell[n])
            x = hidden[n] = read(h_after)
        logits = x @ weights["readout.weight"].T.astype(np.float64) + weights["readout.bias"]  # (B, V)
        given.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    return np.stack(given), hidden, cell


def sigmoid(x: Array) -> Array:
    """Returns 1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-x))
