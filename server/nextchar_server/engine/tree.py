"""The tree of a search: which continuations are looked at next, and which are the likeliest so far.

Between a search and the arithmetic of nodes. A node is an id after another node; to expand it is to learn how likely
each id is behind it. Log-probabilities only fall along a path, so the search is over once the last of the completions
that are wanted is at least as likely as every node that is left: the likeliest nodes are expanded first, and those that
can't beat the completions are dropped. Until there are enough completions, the likeliest children of the nodes before
come first instead: a beam, which reaches the end of a completion however alike all of them are.

Invariant: which nodes are expanded depends on the log-probabilities only, never on the time; at most ``MOST_NODES``
are expanded, and as many wait.

Shapes: V ids, n nodes that are expanded at once. A node's code is V times the number of its parent, plus its id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.constraints.boundaries import Boundary

MOST_NODES = 1024
"""Most nodes that one search expands."""

WIDTH = 16
"""Nodes that are expanded at once: more waste steps on nodes that a completion would have ruled out."""

NODE_BYTES = 256
"""Of each of ``MOST_NODES``, expanded or not, in all arrays that hold it."""

_MOST_OUTCOMES = 2**16
"""Most log-probabilities of a step: with a large alphabet, fewer nodes are expanded at once."""

_NEGLIGIBLE = float(np.log(1e-6))
"""Relative log-probability below which a pending end is left out: bytes that may begin the character behind."""

Codes = NDArray[np.int64]
Logprobs = NDArray[np.float64]

Advance = Callable[[Codes, Codes, int], Logprobs]
"""Feeds in the ids of nodes [n], given the numbers of their parents [n], and keeps their states from a number on.
Returns the log-probabilities behind them, [n, V]."""


@dataclass(frozen=True)
class Completed:
    """One continuation."""

    ids: list[int]
    logprob: float
    """In nats."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """The completions that a search looks for."""

    boundary: Boundary
    most: int
    """Most characters of a completion."""
    is_counted: bool
    """Whether a completion ends after ``most`` characters. Otherwise longer ones are none."""
    count: int
    """Number of completions."""


class Tree:
    """The nodes of a search: expanded ones, and open ones that can still lead to a completion that is wanted."""

    def __init__(self, wanted: Wanted, advance: Advance, last_id: int) -> None:
        """The root feeds in ``last_id``, the last id of the prompt."""
        self._wanted, self._advance = wanted, advance
        boundary = wanted.boundary
        self._V = boundary.transitions.shape[1]
        self._width = max(1, min(WIDTH, _MOST_OUTCOMES // self._V))
        self._ends_at_once = boundary.is_match or (wanted.is_counted and boundary.is_one_to_one)
        self._size = 0  # nodes that are expanded
        self._codes = np.empty(MOST_NODES, np.int64)
        self._states = np.empty(MOST_NODES, np.int32)
        self._counts = np.empty(MOST_NODES, np.int32)  # characters begun
        self._owners = np.empty(MOST_NODES, np.int32)  # the whole node whose end is pending, -1 without one
        self._ended = np.full(MOST_NODES, -np.inf)  # log-probabilities of each node and an end behind it
        root, certain = np.array([last_id - self._V]), np.zeros(1)
        none = root[:0], certain[:0]
        self._found = (root, certain) if boundary.is_match and boundary.whole[0] else none  # ends at once
        is_possible = boundary.distance[0] <= wanted.most
        self._open, self._open_logprobs = (root, certain) if is_possible else none
        self._bounds = self._open_logprobs  # what the likeliest completion behind each open node may reach
        self._newest = 0  # the last of the open nodes, which are children of the nodes expanded last
        self._least = -np.inf  # log-probability of the last completion that is wanted
        self._lost = -np.inf  # bound of the likeliest node that was dropped for want of room

    def step(self) -> bool:
        """Expands the next nodes. Returns False if there are none, which is the end of the search."""
        room = min(self._width, MOST_NODES - self._size)
        if not room or not len(self._open):
            return False
        chosen = self._next(room)
        codes, logprobs = self._open[chosen], self._open_logprobs[chosen]
        is_left = np.ones(len(self._open), np.bool_)
        is_left[chosen] = False
        self._leave(is_left)
        self._expand(codes, logprobs)
        return True

    @property
    def is_exact(self) -> bool:
        """Whether no node is left that could lead to a likelier completion."""
        return self._lost <= self._least and not (self._bounds > self._least).any()

    def completions(self) -> list[Completed]:
        """Returns the completions, likeliest first."""
        ended = self._ended[: self._size]
        has_ended = ended > -np.inf
        codes = np.concatenate([self._found[0], self._codes[: self._size][has_ended]])
        logprobs = np.concatenate([self._found[1], ended[has_ended]])
        order = np.argsort(-logprobs, kind="stable")[: self._wanted.count]
        return [Completed(self._ids(int(codes[one])), min(0.0, float(logprobs[one]))) for one in order]

    def _ids(self, code: int) -> list[int]:
        """Returns the ids that lead to a node, without the root's."""
        ids: list[int] = []
        while code >= 0:
            parent, id_ = divmod(code, self._V)
            ids.append(id_)
            code = int(self._codes[parent])
        return ids[::-1]

    def _next(self, room: int) -> NDArray[np.intp]:
        """Returns which of the open nodes come next, ``room`` at most."""
        if self._least == -np.inf:
            first = len(self._open) - self._newest
            # A pending end leads no deeper.
            (deeper,) = np.nonzero(self._bounds[first:] == self._open_logprobs[first:])
            if len(deeper):
                deeper += first
                return deeper[_largest(self._open_logprobs[deeper], room)]
        return _largest(self._open_logprobs, room)

    def _leave(self, kept: NDArray[np.bool_]) -> None:
        """Drops the open nodes that aren't ``kept``."""
        self._newest = int(np.count_nonzero(kept[len(kept) - self._newest :]))
        self._open, self._open_logprobs = self._open[kept], self._open_logprobs[kept]
        self._bounds = self._bounds[kept]

    def _expand(self, codes: Codes, logprobs: Logprobs) -> None:
        wanted, boundary = self._wanted, self._wanted.boundary
        first, self._size = self._size, self._size + len(codes)
        new = slice(first, self._size)
        self._codes[new] = codes
        parents, ids = np.divmod(codes, self._V)
        self._place(new, parents, ids)
        states, owners = self._states[new], self._owners[new]
        room = (wanted.most - self._counts[new])[:, None]  # for characters
        behind = self._advance(ids, parents, first)
        ends, follows = boundary.ends[states], boundary.costs[states] <= room
        if wanted.is_counted:
            is_long = boundary.whole[states][:, None] & (room == 0) & boundary.begins[states]
            ends, follows = ends | is_long, follows & ~is_long
        self._end(logprobs, owners, np.where(ends, np.exp(behind), 0.0).sum(axis=1))
        behind += logprobs[:, None]
        if self._ends_at_once:
            completes = follows & boundary.whole[boundary.transitions[states]]
            if wanted.is_counted:
                completes &= boundary.begins[states] == room
                follows &= ~completes
            self._find(first, completes, behind)
        self._set_least()
        self._add(first, follows & (behind > self._least + _NEGLIGIBLE), behind)

    def _place(self, new: slice, parents: Codes, ids: Codes) -> None:
        """Sets the states, counts and owners of ``new`` nodes, which are ``ids`` behind ``parents``."""
        boundary = self._wanted.boundary
        if new.start == 0:  # the root
            states, counts, owners = np.zeros(1, np.int32), np.zeros(1, np.int32), np.full(1, -1, np.int32)
        else:
            before = self._states[parents]
            states = boundary.transitions[before, ids]
            counts = self._counts[parents] + boundary.begins[before, ids]
            owners = np.where(boundary.pending[states], self._owners[parents], -1)
        self._states[new], self._counts[new] = states, counts
        self._owners[new] = np.where(boundary.whole[states], np.arange(new.start, new.stop), owners)

    def _end(self, logprobs: Logprobs, owners: NDArray[np.int32], mass: Logprobs) -> None:
        """Counts the probabilities ``mass`` [n] that an end follows the nodes of ``logprobs`` and ``owners`` [n]."""
        (ending,) = np.nonzero(mass)
        ended = logprobs[ending] + np.log(np.minimum(mass[ending], 1.0))
        np.logaddexp.at(self._ended, owners[ending], ended)

    def _find(self, first: int, completes: NDArray[np.bool_], logprobs: Logprobs) -> None:
        """Keeps the likeliest of the completions [n, V] behind the nodes from number ``first`` on."""
        found = np.flatnonzero(completes)
        codes = np.concatenate([self._found[0], found + first * self._V])
        known = np.concatenate([self._found[1], logprobs.ravel()[found]])
        order = np.argsort(-known, kind="stable")[: self._wanted.count]
        self._found = codes[order], known[order]

    def _set_least(self) -> None:
        known = np.concatenate([self._ended[: self._size], self._found[1]])
        if len(known) >= self._wanted.count:
            self._least = float(np.partition(known, -self._wanted.count)[-self._wanted.count])

    def _add(self, first: int, follows: NDArray[np.bool_], logprobs: Logprobs) -> None:
        """Opens the children [n, V] of the nodes from number ``first`` on. Drops those for which there is no room."""
        children = np.flatnonzero(follows)
        added = logprobs.ravel()[children]
        bounds = added
        rows, ids = np.divmod(children, self._V)
        states = self._wanted.boundary.transitions[self._states[first + rows], ids]
        (pending,) = np.nonzero(self._wanted.boundary.pending[states] & (self._owners[first + rows] >= 0))
        if len(pending):
            bounds = added.copy()
            bounds[pending] -= _NEGLIGIBLE
        self._newest = len(children)
        self._open = np.concatenate([self._open, children + first * self._V])
        self._open_logprobs = np.concatenate([self._open_logprobs, added])
        self._bounds = np.concatenate([self._bounds, bounds])
        self._leave(self._bounds > self._least)
        if len(self._open) > MOST_NODES:
            kept = np.zeros(len(self._open), np.bool_)
            kept[_largest(self._open_logprobs, MOST_NODES)] = True
            self._lost = max(self._lost, float(self._bounds[~kept].max()))
            self._leave(kept)


def _largest(values: Logprobs, count: int) -> NDArray[np.intp]:
    """Returns the places of the ``count`` largest values, the largest first; of equal ones, the first."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = -np.partition(-values, count - 1)[count - 1]
    (places,) = np.nonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")[:count]]
