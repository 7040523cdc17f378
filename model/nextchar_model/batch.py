"""A batch: the rows that advance together, their sampling settings and their recurrent state.

Shapes: B rows, K steps, V ids, L layers, H hidden size, N alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alphabet import Ids

SAMPLE = -1
"""What ``forced`` holds where an id is to be sampled."""


@dataclass(frozen=True)
class SamplingSettings:
    """How one row is sampled. The ranges are those of ``GenerationParameters`` in the protocol."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    bias: NDArray[np.float32] | None = None
    """Added to the log-probabilities before anything else, [V]; None adds nothing."""
    begins: bool = True
    """Whether what is sampled begins with a new character, and not with a part of what was read."""


@dataclass
class Batch:
    """B rows: the settings and the state of each, arrays whose first axis (second, of hidden and cell) is B.

    ``cell`` is [0, B, H] where the model has none.
    """

    last_id: Ids
    hidden: NDArray[np.generic]
    cell: NDArray[np.float32]
    automaton_state: NDArray[np.int32]
    temperature: NDArray[np.float32]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float32]
    min_p: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.last_id)

    def take(self, rows: Sequence[int]) -> Batch:
        """The batch of ``rows`` only, in that order."""
        return Batch(
            **{
                name: np.take(array, np.asarray(rows, np.intp), axis=_row_axis(name))
                for name, array in vars(self).items()
            }
        )

    def split(self, parts: int) -> list[Batch]:
        """``parts`` batches of nearly as many rows each, which ``join`` puts together again."""
        arrays = {name: np.array_split(array, parts, axis=_row_axis(name)) for name, array in vars(self).items()}
        return [Batch(**dict(zip(arrays, one, strict=True))) for one in zip(*arrays.values(), strict=True)]

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """The rows of ``batches``, at least one of them, one after another."""
        return Batch(
            **{
                name: np.concatenate([getattr(batch, name) for batch in batches], axis=_row_axis(name))
                for name in vars(batches[0])
            }
        )


def _row_axis(name: str) -> int:
    return 1 if name in ("hidden", "cell") else 0


@dataclass(frozen=True)
class Steps:
    """What K steps of a batch gave."""

    ids: NDArray[np.int64]
    """[K, B]: the id after each step, forced or sampled."""
    logprob: NDArray[np.float32]
    """[K, B]: its log-probability before temperature, bias and truncation, in nats."""
    top_ids: NDArray[np.int64]
    """[K, B, N]: the likeliest ids, likeliest first."""
    top_logprobs: NDArray[np.float32]
    """[K, B, N]: their log-probabilities, in nats."""

    @staticmethod
    def join(parts: Sequence[Steps]) -> Steps:
        """The rows of ``parts``, at least one of them, one after another."""
        return Steps(**{name: np.concatenate([getattr(part, name) for part in parts], 1) for name in vars(parts[0])})


@dataclass(frozen=True)
class RecurrentState:
    """The recurrent state of B rows, [L, B, H] each; ``cell`` is [0, B, H] where the model has none."""

    hidden: NDArray[np.generic]
    cell: NDArray[np.float32]
