"""A search: the likeliest continuations of ids up to a boundary.

A search is a stream that samples nothing: it has a caller, a place in an admission, and ends once. The searcher's
thread takes its steps. Knows ids and tables, never text.

The tree of continuations is searched from the likeliest node on. Log-probabilities only fall along a path, so the
search is over once the last of the completions that are wanted is at least as likely as every node that is left. A beam
goes first, level by level, so that there are completions from the start, and nodes that can't beat them are dropped.

Invariant: the result depends on the model and the request only; no more than ``MOST_NODES`` nodes are expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_model.batch import SAMPLE, Batch, SamplingSettings
from nextchar_model.constraints.boundaries import ENDS, Boundary
from nextchar_model.runner import Runner

from .prefixes import START, Prefix, Prefixes
from .stream import Stream

MOST_NODES = 1024
"""Most nodes that one search expands."""

WIDTH = 32
"""Nodes that are expanded at once: more waste steps on nodes that a completion would have ruled out."""

BEAM = 16
"""Nodes of a level that the beam expands."""

READ_IDS = 64
"""Ids of a prompt that are read at once."""

SPACING = 256
"""Ids between two states of a long prompt that are kept."""

_CHAIN = 32  # ids that prefixes add to the ones that they extend, at least, so that typing makes no long chains
_NEGLIGIBLE = np.log(1e-6)
"""Relative probability below which a pending end is left out: bytes that may begin the character behind a completion."""

_NODE = np.dtype(
    [
        ("logprob", np.float64),
        ("parent", np.int32),  # number of an expanded node, -1 for the root
        ("id", np.int32),
        ("state", np.int32),
        ("count", np.int32),  # characters begun
        ("owner", np.int32),  # the whole node whose end is pending, -1 without one
    ]
)
_Nodes = NDArray[np.void]


@dataclass(frozen=True)
class Completed:
    """One continuation."""

    ids: list[int]
    logprob: float
    """In nats."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a search looks for."""

    boundary: Boundary
    most: int
    """Most characters of a completion."""
    is_counted: bool
    """Whether a completion ends after ``most`` characters. Otherwise longer ones are none."""
    count: int
    """Number of completions."""


class Search(Stream):
    """One request's search."""

    def __init__(self, *, read: Ids, wanted: Wanted, caller: str = "") -> None:
        """Completes ``read``, from the start of a document on."""
        super().__init__(read=read, count=0, caller=caller)
        self.wanted = wanted
        self.steps: Iterator[None] | None = None
        """The searcher's: its work, once it has begun."""
        self.completions: list[Completed] = []
        """Once it has ended: the likeliest first."""
        self.is_exact = False
        """Whether no other completion is likelier."""

    def work(self, runner: Runner, prefixes: Prefixes) -> Iterator[None]:
        """Searches, in steps of a call of the graph at most each."""
        rows = _Rows(runner)
        prefix = yield from rows.read(self.read, prefixes)
        tree = _Tree(self.wanted, rows)
        level = tree.start(int(self.read[-1]) if len(self.read) else BOUNDARY)
        while len(level):
            children = tree.expand(level)
            if prefix is not None:
                _keep(prefixes, prefix, self.read, rows)
                prefix = None
            level = tree.next_level(children)
            yield
        while len(nodes := tree.next_nodes()):
            tree.put_back(tree.expand(nodes))
            yield
        self.completions, self.is_exact = tree.completions(), tree.is_exact


def _keep(prefixes: Prefixes, prefix: Prefix, ids: Ids, rows: _Rows) -> None:
    """Keeps the state after ``ids``, which the first node has fed in."""
    while prefix.parent is not None and prefix.length - prefix.parent.length < _CHAIN:
        prefix = prefix.parent
    if len(ids) > prefix.length:
        prefixes.keep(ids, prefix, rows.hidden[0], rows.cell[0])


class _Rows:
    """The recurrent states of a search: row n is that of its n-th expanded node. L layers of H units."""

    def __init__(self, runner: Runner) -> None:
        description = runner.description
        self._runner = runner
        self._V = description.alphabet.size
        start = runner.start([SamplingSettings(begins=False)] * WIDTH)
        self._template = {name: array for name, array in vars(start).items() if name not in ("hidden", "cell")}
        self._first = start.hidden[:, 0], start.cell[:, 0]  # of the root
        shape = (MOST_NODES, description.layers, description.hidden_size)
        self.hidden = np.empty(shape, start.hidden.dtype)
        """[nodes, L, H]"""
        self.cell = np.empty((MOST_NODES, *start.cell.shape[::2]), np.float32)
        """[nodes, L, H], or [nodes, 0, H] if the model has no cell."""

    def read(self, ids: Ids, prefixes: Prefixes) -> Iterator[None]:
        """Reads all of ``ids`` except the last, which the root feeds in. Returns the longest known prefix."""
        prefix = prefixes.find(ids) if prefixes.size and len(ids) else START
        batch = self._batch(np.array([BOUNDARY]), *(part[:, None] for part in self._first))
        place = 0
        if prefix is not START:
            batch.hidden, batch.cell = prefix.hidden[:, None].copy(), prefix.cell[:, None].copy()
            place = prefix.length + 1
            batch.last_id = ids[place - 1 : place]
        while place < len(ids):
            part = ids[place : place + READ_IDS, None]
            self._runner.advance(batch, part[-1:], np.zeros((1, 1), np.float32), read=part[:-1])
            place += len(part)
            if prefixes.size and place - 1 - prefix.length >= SPACING:
                prefix = prefixes.keep(ids[: place - 1], prefix, batch.hidden[:, 0], batch.cell[:, 0])
            yield
        self._first = batch.hidden[:, 0], batch.cell[:, 0]
        return prefix if prefixes.size and len(ids) else None

    def _batch(self, last_id: Ids, hidden: NDArray[np.generic], cell: NDArray[np.float32]) -> Batch:
        own = {name: array[: len(last_id)] for name, array in self._template.items()}
        return Batch(**{**own, "last_id": last_id, "hidden": hidden, "cell": cell})

    def advance(self, nodes: _Nodes, first: int) -> NDArray[np.float64]:
        """Feeds in the ids of ``nodes``, and keeps their states from number ``first`` on.

        Returns the log-probabilities of what follows, [nodes, V].
        """
        if first == 0:
            hidden, cell = (part[:, None] for part in self._first)
        else:
            parents = nodes["parent"]
            hidden = np.ascontiguousarray(self.hidden[parents].transpose(1, 0, 2))
            cell = np.ascontiguousarray(self.cell[parents].transpose(1, 0, 2))
        batch = self._batch(nodes["id"].astype(np.int64), hidden, cell)
        forced = np.full((1, len(nodes)), BOUNDARY, np.int64)
        steps = self._runner.advance(batch, forced, np.zeros((1, len(nodes)), np.float32), alternatives=self._V)
        self.hidden[first : first + len(nodes)] = batch.hidden.transpose(1, 0, 2)
        self.cell[first : first + len(nodes)] = batch.cell.transpose(1, 0, 2)
        logprobs = np.empty((len(nodes), self._V), np.float64)
        np.put_along_axis(logprobs, steps.top_ids[0], steps.top_logprobs[0].astype(np.float64), 1)
        return logprobs


class _Tree:
    """The nodes of a search: expanded ones, and open ones that can still lead to a completion that is wanted."""

    def __init__(self, wanted: Wanted, rows: _Rows) -> None:
        self._wanted, self._rows = wanted, rows
        boundary = wanted.boundary
        self._ends_at_once = boundary.is_match or (wanted.is_counted and boundary.is_one_to_one)
        self._expanded = np.empty(MOST_NODES, _NODE)
        self._mass = np.full(MOST_NODES, -np.inf)
        """Log-probability of each expanded node and an end behind it."""
        self._size = 0
        self._open = np.empty(0, _NODE)
        self._found = np.empty(0, _NODE)  # completions that end at once
        self._least = -np.inf  # log-probability of the last completion that is wanted
        self._lost = -np.inf  # of the likeliest node that was dropped for want of room

    def start(self, last_id: int) -> _Nodes:
        """Returns the root, whose id is the last one of the prompt."""
        root = np.array([(0.0, -1, last_id, 0, 0, -1)], _NODE)
        boundary = self._wanted.boundary
        if boundary.is_match and boundary.whole[0]:
            self._found = root
        return root if boundary.distance[0] <= self._wanted.most else root[:0]

    def expand(self, nodes: _Nodes) -> _Nodes:
        """Expands ``nodes``, at least one, and returns their children that can still matter."""
        wanted, boundary = self._wanted, self._wanted.boundary
        first, self._size = self._size, self._size + len(nodes)
        numbers = np.arange(first, self._size, dtype=np.int32)
        self._expanded[first : self._size] = nodes
        logprobs = self._rows.advance(nodes, first)
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

    def _end(self, nodes: _Nodes, owners: NDArray[np.int32], mass: NDArray[np.float64]) -> None:
        ending = np.flatnonzero(mass > 0)
        logprobs = nodes["logprob"][ending] + np.log(np.minimum(mass[ending], 1.0))
        np.logaddexp.at(self._mass, owners[ending], logprobs)

    def _find(self, completed: _Nodes) -> None:
        found = np.concatenate([self._found, completed])
        self._found = found[np.argsort(-found["logprob"], kind="stable")[: self._wanted.count]]

    def _set_least(self) -> None:
        known = np.concatenate([self._mass[: self._size], self._found["logprob"]])
        if len(known) >= self._wanted.count:
            self._least = float(np.partition(known, -self._wanted.count)[-self._wanted.count])

    def _children(
        self,
        chosen: NDArray[np.bool_],
        nodes: _Nodes,
        numbers: NDArray[np.int32],
        owners: NDArray[np.int32],
        to: NDArray[np.int32],
        counts: NDArray[np.int32],
        logprobs: NDArray[np.float64],
    ) -> _Nodes:
        """Returns the ``chosen`` children [nodes, V] that are likely enough."""
        rows, ids = np.nonzero(chosen & (logprobs > self._least + _NEGLIGIBLE))
        children = np.empty(len(rows), _NODE)
        children["logprob"] = logprobs[rows, ids]
        children["parent"] = numbers[rows]
        children["id"] = ids
        children["state"] = to[rows, ids]
        children["count"] = counts[rows, ids]
        children["owner"] = np.where(self._wanted.boundary.pending[children["state"]], owners[rows], -1)
        return children[self._matters(children)]

    def _matters(self, nodes: _Nodes) -> NDArray[np.bool_]:
        """Whether each of ``nodes`` can change the completions that are wanted."""
        matters: NDArray[np.bool_] = nodes["logprob"] > self._least + np.where(nodes["owner"] < 0, 0.0, _NEGLIGIBLE)
        return matters

    def next_level(self, children: _Nodes) -> _Nodes:
        """Returns the nodes of the beam's next level, and puts the other ``children`` back."""
        order = np.argsort(np.where(children["owner"] < 0, -children["logprob"], np.inf), kind="stable")
        room = min(BEAM, MOST_NODES - self._size, int((children["owner"] < 0).sum()))
        self.put_back(children[order[room:]])
        return children[order[:room]]

    def next_nodes(self) -> _Nodes:
        """Takes the likeliest open nodes; none if the search is over."""
        self._open = self._open[self._matters(self._open)]
        room = min(WIDTH, MOST_NODES - self._size)
        order = np.argsort(-self._open["logprob"], kind="stable")
        taken, self._open = self._open[order[:room]], self._open[order[room:]]
        return taken

    def put_back(self, nodes: _Nodes) -> None:
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
