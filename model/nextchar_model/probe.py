"""The probe: the gates and states of some units of a layer, after each id that a row reads.

The graph returns no gates. So the probe lets the runner take one step per call, and computes the gates of its units
from the states before the step, by the equations in ``cell``, with the weights of the model file. Used by the server
for requests that ask for activations, beside the streams.

Invariant: the values after an id are the same bits however the ids are cut; a row that is probed has the states of one
that isn't.

Shapes: T ids, U units, Q quantities, V ids of the alphabet, H hidden size, S sums of the units in a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alphabet import BOUNDARY, Ids
from .batch import Batch
from .cell import QUANTITIES
from .runner import Runner

_ZERO, _STEPS = 128, 127  # of a hidden state in int8: the value that means 0, and the steps up to 1

_Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Product:
    """The rows of one product of a layer that make the sums of the units."""

    table: _Values | None
    """[V, S]: the input's part by id, with the bias; None if the input is a vector."""
    below: _Values | None
    """[S, inputs]: the weights of the layer's input; None without."""
    previous: _Values | None
    """[S, H]: the weights of its hidden state; None without."""
    scale: _Values
    """[S]: unit of the weights."""
    bias: _Values

    def sums(self, ids: Ids, x: _Values | None, h: _Values) -> _Values:
        """Returns the sums [T, S] of the layer's input ``x`` [T, inputs] at ``ids``, and its hidden state ``h`` [T, H].

        ``einsum`` adds in one order, whatever T is. In int8 the sums of products are whole numbers, and exact.
        """
        products = np.zeros((len(ids), len(self.scale)))
        if self.below is not None and x is not None:
            products += np.einsum("ti,si->ts", x, self.below)
        if self.previous is not None:
            products += np.einsum("ti,si->ts", h, self.previous)
        sums = products * self.scale + self.bias
        return sums if self.table is None else sums + self.table[ids]


class Probe:
    """Units of one layer of a model."""

    def __init__(self, runner: Runner, layer: int, units: Sequence[int]) -> None:
        """Raises ``ModelFileError`` if the file with the weights was removed or replaced since it was opened."""
        description = runner.description
        self._runner = runner
        self._layer = layer
        self._units = np.array(units, np.intp)
        self._is_int8 = description.precision == "int8"
        self._cell = description.cell
        self.quantities = QUANTITIES[description.cell]
        """Names of the Q quantities."""
        table = runner.tensors.get("embedded_table") if layer == 0 else None
        self._embedding = None if table is None else self._number(table)
        gates, both = {"rnn": ("sum", 1), "gru": ("gates", 2), "lstm": ("gates", 4)}[self._cell]
        self._gates = self._product(f"{gates}_{layer}", both, "rows" if layer == 0 else "")
        if self._cell == "gru":
            self._candidate_input = self._product(f"candidate_input_{layer}", 1, f"candidate_input_{layer}", h=False)
            self._candidate_memory = self._product(f"candidate_memory_{layer}", 1, x=False)

    def read(self, batch: Batch, ids: Ids) -> NDArray[np.float32]:
        """Feeds ``ids`` [T] to ``batch``, which has one row, and returns the values after each of them, [T, U, Q].

        The batch is fed its last id before, and no id is left to be fed in afterwards: see ``feed``.
        """
        befores, belows = [], []
        for id_ in ids:
            befores.append((batch.hidden, batch.cell))
            self.feed(batch, np.array([id_]))
            belows.append(batch.hidden)
        return self._values(ids, befores, belows)

    def feed(self, batch: Batch, ids: Ids) -> None:
        """Feeds ``ids``, of which there is at least one, to ``batch``, in place of its last id."""
        column = np.asarray(ids, np.int64)[:, None]
        batch.last_id = column[0]
        boundary = np.full((1, 1), BOUNDARY, np.int64)  # chosen, and never fed in
        self._runner.advance(batch, boundary, np.zeros((1, 1), np.float32), read=column[1:])

    def _values(
        self,
        ids: Ids,
        befores: Sequence[tuple[NDArray[np.generic], NDArray[np.float32]]],
        afters: Sequence[NDArray[np.generic]],
    ) -> NDArray[np.float32]:
        layer, units = self._layer, self._units
        if layer:
            x: _Values | None = self._number(np.stack([hidden[layer - 1, 0] for hidden in afters]))
        else:
            x = None if self._embedding is None else self._embedding[ids]
        h = self._number(np.stack([hidden[layer, 0] for hidden, _ in befores]))
        sums = self._gates.sums(ids, x, h)
        # Of all at once, because NumPy may compute other bits for parts of an array.
        squashed, opened = np.tanh(sums), 0.5 + 0.5 * np.tanh(0.5 * sums)
        if self._cell == "rnn":
            return _columns(squashed)
        if self._cell == "lstm":
            i, f, _, o = np.split(opened, 4, axis=1)
            g = np.split(squashed, 4, axis=1)[2]
            c = f * np.stack([cell[layer, 0, units] for _, cell in befores]) + i * g
            return _columns(i, f, o, g, c, o * np.tanh(c))
        r, z = np.split(opened, 2, axis=1)
        n = np.tanh(self._candidate_input.sums(ids, x, h) + r * self._candidate_memory.sums(ids, x, h))
        if self._is_int8:
            exact = np.stack([cell[layer, 0, units] for _, cell in befores]).astype(np.float64)
        else:
            exact = h[:, units]
        return _columns(r, z, n, n + z * (exact - n))

    def _product(self, name: str, blocks: int, table: str = "", *, x: bool = True, h: bool = True) -> _Product:
        """Returns the rows of the product ``name``, or of the ``table`` in place of its input, of all ``blocks``."""
        tensors, H = self._runner.tensors, self._runner.description.hidden_size
        rows = np.concatenate([block * H + self._units for block in range(blocks)])
        weight, by_id = tensors.get(f"{name}_weight"), tensors.get(f"{table}_table")
        scale, bias = tensors.get(f"{name}_scale"), tensors.get(f"{name}_bias")
        below = previous = None
        if weight is not None:
            chosen = np.ascontiguousarray(weight[:, rows].T, np.float64)
            below = np.ascontiguousarray(chosen[:, : len(weight) - H * h]) if x and by_id is None else None
            previous = np.ascontiguousarray(chosen[:, len(weight) - H * h :]) if h else None
        return _Product(
            None if by_id is None else by_id[:, rows].astype(np.float64),
            below,
            previous,
            (np.ones(len(rows)) if scale is None else scale[rows] / np.float64(_STEPS)),
            np.zeros(len(rows)) if bias is None else bias[rows].astype(np.float64),
        )

    def _number(self, state: NDArray[np.generic]) -> _Values:
        """Returns a hidden state as products read it; in int8, in whole steps."""
        values = state.astype(np.float64)
        return values - _ZERO if self._is_int8 else values


def _columns(*values: _Values) -> NDArray[np.float32]:
    """Returns Q values [T, U] in one array, [T, U, Q]."""
    return np.stack(values, axis=2, dtype=np.float32, casting="same_kind")
