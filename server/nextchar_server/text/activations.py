"""Activations: the values inside the network after each id, on the way to those of characters.

``rpc/activations`` computes them, ``text`` cuts them as it cuts the text, and ``rpc/responses`` puts them into
messages.

Shapes: C characters, U units, Q quantities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chosen:
    """The units of a layer whose values are wanted."""

    layer: int
    units: tuple[int, ...]
    quantities: tuple[str, ...]
    """The names of their gates and states."""

    @property
    def count(self) -> int:
        """Number of values of one character."""
        return len(self.units) * len(self.quantities)


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """The values of C consecutive characters."""

    chosen: Chosen
    values: NDArray[np.float32]
    """[C, U, Q]: after the last id of each character."""

    def __getitem__(self, part: slice) -> Activations:
        return replace(self, values=self.values[part])

    @staticmethod
    def join(parts: Sequence[Activations]) -> Activations | None:
        """Returns the values of ``parts`` in order; None if there are none."""
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else replace(parts[0], values=np.concatenate([one.values for one in parts]))


class WaitingActivations:
    """The values of ids whose characters are still to come, in the order of the stream."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        # Those of the last id that was taken come first: a character that the decoder inserts has no id of its own.
        self._parts = [np.zeros((1, len(chosen.units), len(chosen.quantities)), np.float32)]

    def add(self, values: NDArray[np.float32]) -> None:
        """Adds those of the next ids, [ids, U, Q]."""
        self._parts.append(values)

    def take(self, lengths: Sequence[int] | NDArray[np.int64]) -> Activations:
        """Returns the values of the next characters, made by ``lengths`` [C] ids each."""
        ends = np.cumsum(lengths, dtype=np.intp)
        values = np.concatenate(self._parts)
        self._parts = [values[ends[-1] if len(ends) else 0 :]]
        return Activations(self._chosen, values[ends])
