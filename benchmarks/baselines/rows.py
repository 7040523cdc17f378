"""Texts that advance together: the loop inside the baselines that batch.

The frameworks bring requests and take texts; ``Rows`` holds the running texts in between. A step of the model advances
all of them at once, a text joins as soon as it comes and leaves as soon as it ends. ``stepping`` has the models.

Invariant: a text depends on its prompt and seed alone, because each row draws by its own random numbers.

Shapes: B rows, T ids of a prompt with the boundary before it, K steps, V ids in the alphabet.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.draws import uniform

State = TypeVar("State")


class Stepper(Protocol[State]):
    """A model that advances rows. ``State`` holds all that it knows of them."""

    alphabet: Alphabet

    def begin(self, prompts: NDArray[np.int64], draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], State]:
        """Reads prompts [T, B] from the boundary on. Returns the first id of each [B], drawn by ``draws`` [B]."""

    def advance(self, state: State, draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], State]:
        """Samples an id of each row for each of ``draws`` [K, B]. Returns the ids [K, B]."""

    def join(self, first: State, second: State) -> State:
        """Returns the rows of both."""

    def take(self, state: State, rows: Sequence[int]) -> State:
        """Returns ``rows`` only."""


class Request(NamedTuple):
    """A text that a caller wants."""

    key: Hashable
    """The caller's, in the framework's terms."""
    prompt: str
    max_characters: int
    seed: int


class Piece(NamedTuple):
    """Characters of a text, in their order."""

    key: Hashable
    text: str
    is_last: bool


@dataclass
class _Row:
    key: Hashable
    left: int
    """Characters that it may still have."""
    draws: NDArray[np.float32]
    """Its random numbers from here on."""


class Rows(Generic[State]):
    """The running texts, which take ``steps`` at a time."""

    def __init__(self, stepper: Stepper[State], steps: int) -> None:
        self._stepper = stepper
        self._steps = steps
        self._symbols = ["", *stepper.alphabet.symbols]
        self._rows: list[_Row] = []
        self._state: State | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, requests: Sequence[Request]) -> list[Piece]:
        """Begins texts, and returns the first character of each. Prompts of one length are read together."""
        spelled = [self._stepper.alphabet.encode(request.prompt, unknown="skip") for request in requests]
        pieces: list[Piece] = []
        for T, group in groupby(sorted(range(len(requests)), key=lambda n: len(spelled[n])), lambda n: len(spelled[n])):
            members = list(group)
            prompts = np.full((T + 1, len(members)), BOUNDARY)
            for row, n in enumerate(members):
                prompts[1:, row] = spelled[n]
            rows = [_row(requests[n], self._steps) for n in members]
            ids, state = self._stepper.begin(prompts, np.array([row.draws[0] for row in rows]))
            self._state = state if self._state is None else self._stepper.join(self._state, state)
            self._rows += rows
            pieces += self._told(rows, ids[None])
        self._retire()
        return pieces

    def advance(self) -> list[Piece]:
        """Advances all texts, of which there is at least one, and returns their new characters."""
        K = min(self._steps, max(row.left for row in self._rows))
        draws = np.stack([row.draws[:K] for row in self._rows], axis=1)
        assert self._state is not None
        ids, self._state = self._stepper.advance(self._state, draws)
        pieces = self._told(self._rows, ids)
        self._retire()
        return pieces

    def _told(self, rows: Sequence[_Row], ids: NDArray[np.int64]) -> list[Piece]:
        pieces = []
        for row, column in zip(rows, ids.T.tolist(), strict=True):
            new = column[: row.left]
            ends = BOUNDARY in new
            if ends:
                new = new[: new.index(BOUNDARY)]
            row.left = 0 if ends else row.left - len(new)
            row.draws = row.draws[len(ids) :]
            pieces.append(Piece(row.key, "".join([self._symbols[id_] for id_ in new]), row.left == 0))
        return pieces

    def _retire(self) -> None:
        running = [n for n, row in enumerate(self._rows) if row.left]
        if len(running) == len(self._rows):
            return
        assert self._state is not None
        self._rows = [self._rows[n] for n in running]
        self._state = self._stepper.take(self._state, running) if running else None


def _row(request: Request, steps: int) -> _Row:
    # The other rows of a batch may take more steps than are left of this one.
    return _Row(request.key, request.max_characters, uniform(request.seed, 0, request.max_characters + steps))
