"""The automaton over ids: the form in which the graph follows a constraint.

The last stage of the compiler makes it; the runner and the engine stack the automata of a batch. The graph needs to
know, at each step, whether a text can still be completed within the characters that are left. So each id has a detour:
the characters by which it lengthens the shortest way to a match. The graph counts down the slack, the characters left
beyond that way, and forbids the ids whose detour is larger than the slack.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORBIDDEN = 2**30
"""The detour of an id that can't follow: more than any slack."""

MOST_SLACK = 2**29
"""The slack of a text that needs no end."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """S states over V ids. State 0 is the start."""

    transitions: NDArray[np.int32]
    """[S, V]: the state after each id, -1 if it can't follow. The document's end leaves an accepting state as it is."""
    detours: NDArray[np.int32]
    """[S, V]: the characters by which each id lengthens the shortest way to a match, or ``FORBIDDEN``."""
    accepts: NDArray[np.bool_]
    """[S]: whether the text so far matches."""
    distance: NDArray[np.int32]
    """[S]: the fewest characters from there to a match."""

    def __len__(self) -> int:
        return len(self.accepts)

    @property
    def size(self) -> int:
        """Bytes of its tables."""
        return self.transitions.nbytes + self.detours.nbytes

    @property
    def shortest(self) -> int:
        """Characters of its shortest text."""
        return int(self.distance[0])

    def after(self, state: int, ids: Iterable[int]) -> int:
        """Returns the state after ``ids``; the start if they can't follow."""
        for id_ in ids:
            state = int(self.transitions[state, id_])
            if state < 0:
                return 0
        return state

    def is_complete(self, state: int) -> bool:
        """Whether the text matches and nothing can follow it."""
        return bool(self.accepts[state]) and bool((self.transitions[state, 1:] < 0).all())
