"""The batch: rows that advance together, their sampling settings and their recurrent states.

The engine and the evaluator fill a batch, and the runner advances it.

Shapes: B rows, K steps, V ids, L layers, H hidden size, N alternatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alphabet import Ids
from .constraints.automaton import MOST_SLACK, Automaton

SAMPLE = -1
"""The value in ``forced`` that asks for a sampled id."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How one row is sampled. The ranges are those of ``GenerationParameters`` in the protocol."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    bias: NDArray[np.float32] | None = None
    """Added to the log-probabilities before anything else, [V]. None adds nothing."""
    begins: bool = True
    """Whether the first sampled id must begin a new character, instead of continuing the last one read."""
    automaton: Automaton | None = None
    """The automaton of the ids that may be sampled, from its start on. None allows all."""
    slack: int = MOST_SLACK
    """Characters that are left beyond the shortest way to the automaton's end."""
    ends_at: int = MOST_SLACK
    """Largest slack with which the document may end: in an accepting state, the most characters left."""


@dataclass
class Batch:
    """The settings and states of B rows. B is the first axis of each array, the second of ``hidden`` and ``cell``.

    ``hidden`` is [L, B, H], and so is ``cell``, or [0, B, H] if the model has none (see ``cell.has_cell``).
    """

    last_id: Ids
    hidden: NDArray[np.generic]
    cell: NDArray[np.float32]
    automaton: NDArray[np.object_]
    """Each row's automaton, or None."""
    automaton_state: NDArray[np.int32]
    """State of each row's automaton; without one, 1 if the next sampled id must begin a character, and else 0."""
    slack: NDArray[np.int32]
    ends_at: NDArray[np.int32]
    temperature: NDArray[np.float32]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float32]
    min_p: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.last_id)

    def take(self, rows: Sequence[int]) -> Batch:
        """Returns a batch of ``rows`` only, in that order."""
        return Batch(
            **{
                name: np.take(array, np.asarray(rows, np.intp), axis=_row_axis(name))
                for name, array in vars(self).items()
            }
        )

    def split(self, parts: int) -> Iterator[Batch]:
        """Yields ``parts`` batches of nearly equal size, which ``join`` puts together again."""
        arrays = {name: np.array_split(array, parts, axis=_row_axis(name)) for name, array in vars(self).items()}
        for one in zip(*arrays.values(), strict=True):
            yield Batch(**dict(zip(arrays, one, strict=True)))

    def take_states(self, batches: Iterable[Batch]) -> None:
        """Takes the states of ``batches``, which together have its rows, in order.

        Copies each before it asks for the next one, and overwrites ``hidden`` and ``cell``, so that they don't exist
        twice.
        """
        others: dict[str, list[NDArray[np.generic]]] = {name: [] for name in _STATES}
        start = 0
        for batch in batches:
            rows = slice(start, start + len(batch))
            self.hidden[:, rows], self.cell[:, rows] = batch.hidden, batch.cell
            for name, arrays in others.items():
                arrays.append(getattr(batch, name))
            start = rows.stop
        vars(self).update({name: np.concatenate(arrays) for name, arrays in others.items()})

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """Returns one batch of the rows of ``batches``, of which there is at least one, in order."""
        return Batch(
            **{
                name: np.concatenate([getattr(batch, name) for batch in batches], axis=_row_axis(name))
                for name in vars(batches[0])
            }
        )


_STATES = ("last_id", "automaton_state", "slack")  # the arrays that a step changes, beside the network's state


def _row_axis(name: str) -> int:
    return 1 if name in ("hidden", "cell") else 0


@dataclass(frozen=True)
class Steps:
    """The results of K steps of a batch."""

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
        """Returns the steps of all rows of ``parts``, of which there is at least one, in order."""
        return Steps(**{name: np.concatenate([getattr(part, name) for part in parts], 1) for name in vars(parts[0])})


@dataclass(frozen=True)
class RecurrentState:
    """The recurrent state of B rows, [L, B, H] each; ``cell`` is [0, B, H] if the model has none."""

    hidden: NDArray[np.generic]
    cell: NDArray[np.float32]
