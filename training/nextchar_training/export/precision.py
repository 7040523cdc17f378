"""The precision: how the graph holds weights and states, in int8 or fp32.

``layers`` and ``graph`` write every line that depends on the precision through a ``Writer``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scales = Literal["output", "matrix"]
"""The scales of int8 weights: one for each output of a product, or one for each matrix."""

HIDDEN_SCALE = np.float32(1 / 127)
"""Every cell's hidden state lies in (-1, 1), so one fixed scale fits them all. There is nothing to calibrate, and no
dependence on batch-mates as with dynamic quantization."""

HIDDEN_ZERO = np.uint8(128)
"""The value of a quantized hidden state that means 0. Unsigned, because the processor's integer dot product
takes unsigned activations and signed weights."""


class Writer(ABC):
    """Writes the lines whose form depends on the precision, and collects the constants that they need."""

    state_type: str
    """ONNX's name for the element type of a hidden state."""
    exact: str
    """The part of a layer's state that holds its hidden state unrounded."""

    def __init__(self) -> None:
        self.constants: dict[str, NDArray[np.generic]] = {}

    def row(self, name: str, table: NDArray[np.generic]) -> list[str]:
        """Returns the lines that define ``name`` as the row of ``table`` at ``id``."""
        self.constants[f"{name}_table"] = table
        return [f"{name} = GatherND ({name}_table, id)"]

    @abstractmethod
    def as_state(self, values: NDArray[np.float32]) -> NDArray[np.generic]:
        """Returns ``values``, in [-1, 1], in the form of a hidden state."""

    @abstractmethod
    def state(self, name: str, operation: str, exact: str | None = None) -> list[str]:
        """Returns the lines that define ``name`` as the result of ``operation``, in (-1, 1), in a hidden state's form.

        If that form is rounded, ``exact`` names the unrounded result.
        """

    @abstractmethod
    def product(self, name: str, x: str, weight: NDArray[np.float32], addend: NDArray[np.float32] | str) -> list[str]:
        """Returns the lines that define ``name`` as x · weightᵀ + addend, in float.

        ``x`` has the form of a hidden state; ``weight`` is [out, in]; ``addend`` is a bias [out], or the name of a
        value [B, out].
        """


class Int8Writer(Writer):
    """Weights in int8, states in uint8 with ``HIDDEN_SCALE``, sums in int32."""

    state_type = "uint8"
    exact = "cell"

    def __init__(self, scales: Scales = "output") -> None:
        """One scale for each matrix is faster for few rows, and rounds the smaller weights of the matrix more."""
        super().__init__()
        self._scales = scales
        self.constants |= {
            "hidden_scale": np.array(HIDDEN_SCALE),
            "hidden_zero": np.array(HIDDEN_ZERO),
            "weight_zero": np.array(0, np.int8),
        }

    def as_state(self, values: NDArray[np.float32]) -> NDArray[np.generic]:
        return np.asarray(np.rint(values / HIDDEN_SCALE) + HIDDEN_ZERO, dtype=np.uint8)

    def state(self, name: str, operation: str, exact: str | None = None) -> list[str]:
        exact = exact or f"{name}_exposed"
        return [f"{exact} = {operation}", f"{name} = QuantizeLinear ({exact}, hidden_scale, hidden_zero)"]

    def product(self, name: str, x: str, weight: NDArray[np.float32], addend: NDArray[np.float32] | str) -> list[str]:
        largest = np.abs(weight).max(axis=1) if self._scales == "output" else np.abs(weight).max()
        scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
        self.constants[f"{name}_weight"] = np.ascontiguousarray(np.rint(weight / scale[..., None]).astype(np.int8).T)
        self.constants[f"{name}_scale"] = scale
        operands = f"{x}, {name}_weight, hidden_scale, {name}_scale, hidden_zero, weight_zero"
        if isinstance(addend, str):  # the operator's own bias is the same for all rows
            return [
                f"{name}_product = com.microsoft.MatMulIntegerToFloat ({operands})",
                f"{name} = Add ({name}_product, {addend})",
            ]
        self.constants[f"{name}_bias"] = addend
        return [f"{name} = com.microsoft.MatMulIntegerToFloat ({operands}, {name}_bias)"]


class Fp32Writer(Writer):
    """Everything in float: the reference that int8 is compared with."""

    state_type = "float"
    exact = "hidden"

    def as_state(self, values: NDArray[np.float32]) -> NDArray[np.generic]:
        return values

    def state(self, name: str, operation: str, exact: str | None = None) -> list[str]:
        return [f"{name} = {operation}"]

    def product(self, name: str, x: str, weight: NDArray[np.float32], addend: NDArray[np.float32] | str) -> list[str]:
        self.constants[f"{name}_weight"] = np.ascontiguousarray(weight.T)
        if not isinstance(addend, str):
            self.constants[f"{name}_bias"] = addend
            addend = f"{name}_bias"
        return [f"{name} = Gemm ({x}, {name}_weight, {addend})"]
