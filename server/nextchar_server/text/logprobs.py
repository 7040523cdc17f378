"""Log-probabilities of characters, in columns.

Made by ``text``, part by part, and put into the protocol's messages by ``rpc/responses``.

Invariant: no Python object is made per character or alternative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Logprobs:
    """Log-probabilities of C consecutive characters in nats, with N alternatives each, in columns."""

    own: NDArray[np.float32]
    """[C]: the log-probability of each character."""
    alternatives: NDArray[np.uint32]
    """[C, N]: the code points of the likeliest characters in its place, likeliest first."""
    alternative_logprobs: NDArray[np.float32]
    """[C, N]: their log-probabilities."""
    details: NDArray[np.float32] | None = None
    """[C, 2]: the rank of each character, and the entropy in its place; None if they weren't asked for."""

    def __getitem__(self, part: slice) -> Logprobs:
        details = None if self.details is None else self.details[part]
        return Logprobs(self.own[part], self.alternatives[part], self.alternative_logprobs[part], details)

    @staticmethod
    def join(parts: Sequence[Logprobs]) -> Logprobs:
        """Returns the columns of ``parts``, of which there is at least one, in order."""
        if len(parts) == 1:
            return parts[0]
        return Logprobs(
            np.concatenate([part.own for part in parts]),
            np.concatenate([part.alternatives for part in parts]),
            np.concatenate([part.alternative_logprobs for part in parts]),
            np.concatenate([part.details for part in parts if part.details is not None])
            if parts[0].details is not None
            else None,
        )


class Collected:
    """The log-probabilities of a whole text, as its parts come.

    Each part is copied once, to its place: a list of parts would take several times the memory.
    """

    def __init__(self, most: int) -> None:
        """For ``most`` characters at most."""
        self._most = most
        self._all: Logprobs | None = None
        self._length = 0

    def add(self, part: Logprobs | None) -> None:
        """Adds the next characters."""
        if part is None:
            return
        if self._all is None:
            shape = self._most, part.alternatives.shape[1]
            self._all = Logprobs(
                np.empty(self._most, np.float32),
                np.empty(shape, np.uint32),
                np.empty(shape, np.float32),
                None if part.details is None else np.empty((self._most, 2), np.float32),
            )
        place = slice(self._length, self._length + len(part.own))
        self._all.own[place] = part.own
        self._all.alternatives[place] = part.alternatives
        self._all.alternative_logprobs[place] = part.alternative_logprobs
        if self._all.details is not None and part.details is not None:
            self._all.details[place] = part.details
        self._length = place.stop

    def all(self) -> Logprobs | None:
        """Returns the columns so far; None if there are none."""
        return None if self._all is None else self._all[: self._length]
