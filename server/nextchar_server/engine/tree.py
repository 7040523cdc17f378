"""The tree of a search: which continuations are looked at next, and which are the likeliest so far.

Between a search and the arithmetic of nodes. A node is an id after another node; to expand it is to learn how likely
each id is behind it. Log-probabilities only fall along a path, so the search is over once the last of the completions
that are wanted is at least as likely as every node that is left. A beam goes first, level by level, so that there are
completions from the start, and nodes that can't beat them are dropped.

Invariant: which nodes are expanded depends on the log-probabilities only, never on the time; at most ``MOST_NODES``
are expanded, and as many wait.

Shapes: V ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.constraints.boundaries import ENDS, Boundary

MOST_NODES = 1024
"""Most nodes that one search expands."""

WIDTH = 32
"""Nodes that are expanded at once: more waste steps on nodes that a completion would have ruled out."""

BEAM = 16
"""Nodes of a level that the beam expands."""

_MOST_OUTCOMES = 2**16
"""Most log-probabilities of a step: with a large alphabet, fewer nodes are expanded at once."""

_NEGLIGIBLE = float(np.log(1e-6))
"""Relative log-probability below which a pending end is left out: bytes that may begin the character behind."""

NODE = np.dtype(
    [
        ("logprob", np.float64),
        ("parent", np.int32),  # number of an expanded node, -1 for the root
        ("id", np.int32),
        ("state", np.int32),
        ("count", np.int32),  # characters begun
        ("owner", np.int32),  # the whole node whose end is pending, -1 without one
    ]
)
Nodes = NDArray[np.void]

Advance = Callable[[Nodes, int], NDArray[np.float64]]
"""Feeds in the ids of nodes, and keeps their states from that number on. Returns the log-probabilities behind them,
[nodes, V]."""


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

    def __init__(self, wanted: Wanted, advance: Advance) -> None:
        self._wanted, self._advance = wanted, advance
        boundary = wanted.boundary
        self._ends_at_once = boundary.is_match or (wanted.is_counted and boundary.is_one_to_one)
        self._expanded = np.empty(MOST_NODES, NODE)
        self._mass = np.full(MOST_NODES, -np.inf)
        """Log-probability of each expanded node and an end behind it."""
        self._width = max(1, min(WIDTH, _MOST_OUTCOMES // boundary.transitions.shape[1]))
        self._size = 0
        self._open = np.empty(0, NODE)
        self._found = np.empty(0, NODE)  # completions that end at once
        self._least = -np.inf  # log-probability of the last completion that is wanted
        self._lost = -np.inf  # of the likeliest node that was dropped for want of room

    def start(self, last_id: int) -> Nodes:
        """Returns the root, whose id is the last one of the prompt."""
        root = np.array([(0.0, -1, last_id, 0, 0, -1)], NODE)
        boundary = self._wanted.boundary
        if boundary.is_match and boundary.whole[0]:
            self._found = root
        return root if boundary.distance[0] <= self._wanted.most else root[:0]

    def expand(self, nodes: Nodes) -> Nodes:
        """Expands ``nodes``, at least one, and returns their children that can still matter."""
        wanted, boundary = self._wanted, self._wanted.boundary
        first, self._size = self._size, self._size + len(nodes)
        numbers = np.arange(first, self._size, dtype=np.int32)
        self._expanded[first : self._size] = nodes
        logprobs = self._advance(nodes, first)
        states = nodes["state"]
        to, begins = boundary.transitions[states], boundary.begins[states]
        is_whole = boundary.whole[states]
        counts = nodes["count"][:, None] + begins
        ends = to == ENDS
        if wanted.is_counted:
            is_long = is_whole & (nodes["count"] == wanted.most)
            ends |= is_long[:, None] & begins
        owners = np.where(is_whole, numbers, nodes["owner"])
        self._end(nodes, owners, np.where(ends, np.exp(logprobs), 0.0).sum(axis=1))
        logprobs += nodes["logprob"][:, None]
        pending = boundary.pending[to]
        follows = (to >= 0) & ~ends & (counts + boundary.distance[to] <= wanted.most + pending)
        if self._ends_at_once:
            completes = follows & boundary.whole[to]
            if wanted.is_counted:
                completes &= counts == wanted.most
                follows &= ~completes
            self._find(self._children(completes, nodes, numbers, owners, to, counts, logprobs))
        self._set_least()
        return self._children(follows, nodes, numbers, owners, to, counts, logprobs)

    def _end(self, nodes: Nodes, owners: NDArray[np.int32], mass: NDArray[np.float64]) -> None:
        ending = np.flatnonzero(mass > 0)
        logprobs = nodes["logprob"][ending] + np.log(np.minimum(mass[ending], 1.0))
        np.logaddexp.at(self._mass, owners[ending], logprobs)

    def _find(self, completed: Nodes) -> None:
        found = np.concatenate([self._found, completed])
        self._found = found[np.argsort(-found["logprob"], kind="stable")[: self._wanted.count]]

    def _set_least(self) -> None:
        known = np.concatenate([self._mass[: self._size], self._found["logprob"]])
        if len(known) >= self._wanted.count:
            self._least = float(np.partition(known, -self._wanted.count)[-self._wanted.count])

    def _children(
        self,
        chosen: NDArray[np.bool_],
        nodes: Nodes,
        numbers: NDArray[np.int32],
        owners: NDArray[np.int32],
        to: NDArray[np.int32],
        counts: NDArray[np.int32],
        logprobs: NDArray[np.float64],
    ) -> Nodes:
        """Returns the ``chosen`` children [nodes, V] that are likely enough."""
        rows, ids = np.nonzero(chosen & (logprobs > self._least + _NEGLIGIBLE))
        children = np.empty(len(rows), NODE)
        children["logprob"] = logprobs[rows, ids]
        children["parent"] = numbers[rows]
        children["id"] = ids
        children["state"] = to[rows, ids]
        children["count"] = counts[rows, ids]
        children["owner"] = np.where(self._wanted.boundary.pending[children["state"]], owners[rows], -1)
        return children[self._matters(children)]

    def _matters(self, nodes: Nodes) -> NDArray[np.bool_]:
        """Whether each of ``nodes`` can change the completions that are wanted."""
        matters: NDArray[np.bool_] = nodes["logprob"] > self._least + np.where(nodes["owner"] < 0, 0.0, _NEGLIGIBLE)
        return matters

    def next_level(self, children: Nodes) -> Nodes:
        """Returns the nodes of the beam's next level, and puts the other ``children`` back."""
        order = np.argsort(np.where(children["owner"] < 0, -children["logprob"], np.inf), kind="stable")
        room = min(BEAM, self._width, MOST_NODES - self._size, int((children["owner"] < 0).sum()))
        self.put_back(children[order[room:]])
        return children[order[:room]]

    def next_nodes(self) -> Nodes:
        """Takes the likeliest open nodes; none if the search is over."""
        self._open = self._open[self._matters(self._open)]
        room = min(self._width, MOST_NODES - self._size)
        order = np.argsort(-self._open["logprob"], kind="stable")
        taken, self._open = self._open[order[:room]], self._open[order[room:]]
        return taken

    def put_back(self, nodes: Nodes) -> None:
        """Adds open nodes, and drops those for which there is no room."""
        opened = np.concatenate([self._open, nodes])
        opened = opened[self._matters(opened)]
        if len(opened) > MOST_NODES:
            order = np.argsort(-opened["logprob"], kind="stable")
            self._lost = max(self._lost, float(opened["logprob"][order[MOST_NODES]]))
            opened = opened[order[:MOST_NODES]]
        self._open = opened

    @property
    def is_exact(self) -> bool:
        """Whether no node is left that could lead to a likelier completion."""
        return self._lost <= self._least and not self._matters(self._open).any()

    def completions(self) -> list[Completed]:
        """Returns the completions, likeliest first."""
        ended = self._expanded[: self._size].copy()
        ended["logprob"] = self._mass[: self._size]
        known = np.concatenate([self._found, ended[ended["logprob"] > -np.inf]])
        order = np.argsort(-known["logprob"], kind="stable")[: self._wanted.count]
        return [Completed(self._ids(one), min(0.0, float(one["logprob"]))) for one in known[order]]

    def _ids(self, node: np.void) -> list[int]:
        """Returns the ids that lead to ``node``, without the root's."""
        ids: list[int] = []
        while (parent := int(node["parent"])) >= 0:
            ids.append(int(node["id"]))
            node = self._expanded[parent]
        return ids[::-1]
