"""Lifting: from an automaton over classes of characters to one over the ids that spell them.

Last stage of the compiler. If symbols are characters, each id is one. In the others a character takes several
ids, so there are states within a character; and after the ids of 가, the text is 가 or becomes 각.

Invariant: the ids that lead to an accepting state are the spellings of the texts that match, and no others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY
from .automaton import FORBIDDEN, Automaton
from .dfa import Dfa
from .spellings import Classes, Spellings
from .trie import NONE, Node, Trie
from .work import ConstraintError, Work

MOST_BYTES = 64 * 2**20
"""Largest tables of an automaton, in bytes."""

_AT_ONCE = 2**17  # entries of a table that are worked out before another thread may have the interpreter
_STAGE = "spelling it with the model's symbols"


def lifted(dfa: Dfa, classes: Classes, universe: Spellings, work: Work) -> Automaton:
    """Returns ``dfa``, which is over ``classes``, over the ids of an alphabet. Raises ``ConstraintError``."""
    if universe.alphabet.kind == "characters":
        return _by_character(dfa, classes, universe)
    return _Lift(dfa, Trie(classes, universe, work), universe.alphabet.size, work).automaton()


def check_size(states: int, V: int) -> None:
    """Raises ``ConstraintError`` if the tables of ``states`` states of ``V`` ids are too large."""
    if 8 * states * V > MOST_BYTES:
        raise ConstraintError(
            f"too large: the tables of its {states} states over the model's {V} symbols take more than "
            f"{MOST_BYTES >> 20} MiB"
        )


def _by_character(dfa: Dfa, classes: Classes, universe: Spellings) -> Automaton:
    V, S = universe.alphabet.size, len(dfa.accepts)
    check_size(S, V)
    transitions = np.full((S, V), -1, np.int32)
    for low, high, number in zip(classes.low.tolist(), classes.high.tolist(), classes.number.tolist(), strict=True):
        for code in range(low, high + 1):
            transitions[:, universe.paths[code][0]] = dfa.transitions[:, number]
    costs = np.ones((S, V), np.bool_)
    return finished(transitions, costs, dfa.accepts, dfa.distance)


def finished(
    transitions: NDArray[np.int32],
    costs: NDArray[np.bool_],
    accepts: NDArray[np.bool_],
    distance: NDArray[np.int32],
) -> Automaton:
    """Returns the automaton of ``transitions`` [S, V], whose document ends after each text that it accepts.

    ``costs`` [S, V] is whether an id begins a character.
    """
    ends = np.flatnonzero(accepts)
    transitions[ends, BOUNDARY] = ends
    costs[:, BOUNDARY] = False
    detours = np.empty_like(transitions)
    rows = max(1, _AT_ONCE // transitions.shape[1])
    for first in range(0, len(transitions), rows):
        part = slice(first, first + rows)
        lengthened = costs[part] + distance[transitions[part]] - distance[part, None]
        detours[part] = np.where(transitions[part] < 0, FORBIDDEN, lengthened)
        time.sleep(0)
    return Automaton(transitions, detours, accepts, distance)


@dataclass(eq=False)
class _Request:
    """Entries of the table that lead to the beginning of a node, one per entry."""

    state: NDArray[np.int64]
    """The state over classes whose steps count there."""
    whole: NDArray[np.int64]
    """The state after the character that the ids so far spell, or ``NONE``."""
    rows: NDArray[np.int32]
    id_: int


class _Lift:
    """An automaton over ids in the making. Its first states are those of the automaton over classes.

    A node of the tree is taken after all those that lead to it, for all states at once. If the steps of two states
    agree on all classes below it, they share the state there.
    """

    def __init__(self, dfa: Dfa, trie: Trie, V: int, work: Work) -> None:
        self._steps, self._trie, self._V, self._work = dfa.transitions, trie, V, work
        self._accepts, self._distance = [dfa.accepts], [dfa.distance]
        self._rows: list[NDArray[np.int32]] = []
        self._costs: list[NDArray[np.bool_]] = []
        self._count = 0
        self._requests: dict[int, list[_Request]] = {}
        self._within: list[tuple[Node, NDArray[np.int64], NDArray[np.int64]]] = []  # whole characters

    def automaton(self) -> Automaton:
        S = len(self._steps)
        self._add(self._trie.root, np.arange(S), np.full(S, NONE))
        self._costs[0][:] = True
        for number in reversed(range(len(self._trie.nodes))):  # a node's number is above those of the nodes behind it
            if number in self._requests:
                self._take(self._trie.nodes[number], self._requests.pop(number))
        rows, costs = np.concatenate(self._rows), np.concatenate(self._costs)
        for node, states, whole in self._within:
            # The character can be followed by another one, unless the id continues it.
            own = rows[states][:, node.ids]
            rows[states], costs[states] = rows[whole], True
            rows[states[:, None], node.ids], costs[states[:, None], node.ids] = own, False
        return finished(rows, costs, np.concatenate(self._accepts), np.concatenate(self._distance))

    def _take(self, node: Node, requests: list[_Request]) -> None:
        """Makes the states behind a beginning, and enters them into the rows of ``requests``."""
        state = np.concatenate([request.state for request in requests])
        whole = np.concatenate([request.whole for request in requests])
        below = self._steps[state][:, node.below_array]
        self._work.spend(32 + below.size // 64, _STAGE)
        is_dead = below.max(axis=1) < 0
        keys = np.ascontiguousarray(np.concatenate([below, whole[:, None]], axis=1)[~is_dead])
        target = whole.copy()
        if len(keys):
            _, first, number = np.unique(
                keys.view(np.dtype((np.void, keys.strides[0]))).ravel(), return_index=True, return_inverse=True
            )
            target[~is_dead] = self._count + number.ravel()
            alive = np.flatnonzero(~is_dead)[first]
            self._distance.append(self._nearest(below[alive], whole[alive]))
            self._accepts.append((whole[alive] != NONE) & self._accepts[0][whole[alive]])
            self._add(node, state[alive], whole[alive])
        place = 0
        for request in requests:
            request.rows[:, request.id_] = target[place : place + len(request.state)]
            place += len(request.state)

    def _nearest(self, below: NDArray[np.int32], whole: NDArray[np.int64]) -> NDArray[np.int32]:
        """Returns the fewest characters from states that lead to ``below`` or are ``whole``."""
        distance = self._distance[0]
        ways = np.concatenate([below, whole[:, None]], axis=1)
        nearest: NDArray[np.int32] = np.where(ways == NONE, np.int32(FORBIDDEN), distance[ways]).min(axis=1)
        return nearest

    def _add(self, node: Node, state: NDArray[np.int64], whole: NDArray[np.int64]) -> None:
        """Adds states at ``node``."""
        check_size(self._count + len(state), self._V)
        self._work.spend(16 + len(state) * self._V // 2048, _STAGE)
        rows = np.full((len(state), self._V), -1, np.int32)
        is_leaf = node.classes != NONE
        rows[:, node.ids[is_leaf]] = self._steps[state][:, node.classes[is_leaf]]
        is_inner = node.following != NONE
        for id_, number, one in np.stack([node.ids, node.following, node.classes])[:, is_inner].T.tolist():
            after = self._steps[state, one].astype(np.int64) if one != NONE else np.full(len(state), NONE)
            self._requests.setdefault(number, []).append(_Request(state, after, rows, id_))
        if (is_whole := whole != NONE).any():
            self._within.append((node, self._count + np.flatnonzero(is_whole), whole[is_whole]))
        self._rows.append(rows)
        self._costs.append(np.zeros(rows.shape, np.bool_))
        self._count += len(state)
