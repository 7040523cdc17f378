"""A search: the likeliest continuations of ids up to a boundary.

A search is a stream that samples nothing: it has a caller, a place in an admission, and ends once. The searcher's
thread takes its steps. Knows ids and tables, never text.

Invariant: the result depends on the model and the request only, because no step depends on the time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_model.batch import Batch, SamplingSettings
from nextchar_model.runner import Runner

from .prefixes import START, Prefix, Prefixes
from .stream import Stream
from .tree import MOST_NODES, WIDTH, Completed, Tree, Wanted

READ_IDS = 64
"""Ids of a prompt that are read at once."""

SPACING = 256
"""Ids between two states of a long prompt that are kept."""

_CHAIN = 32  # ids that prefixes add to the ones that they extend, at least, so that typing makes no long chains


class Search(Stream):
    """One request's search."""

    def __init__(self, *, read: Ids, wanted: Wanted, caller: str = "") -> None:
        """Completes ``read``, from the start of a document on."""
        super().__init__(read=read, count=0, caller=caller)
        self.wanted = wanted
        self.steps: Iterator[None] | None = None
        """The searcher's: its work, once it has begun."""
        self._rows: _Rows | None = None  # once it has begun
        self.completions: list[Completed] = []
        """Once it has ended: the likeliest first."""
        self.is_exact = False
        """Whether no other completion is likelier."""

    def work(self, runner: Runner, prefixes: Prefixes) -> Iterator[None]:
        """Searches, in steps of a call of the graph at most each."""
        rows = _Rows(runner)
        self._rows = rows
        prefix = yield from rows.read(self.read, prefixes)
        tree = Tree(self.wanted, rows.advance, int(self.read[-1]) if len(self.read) else BOUNDARY)
        while tree.step():
            if prefix is not None:
                _keep(prefixes, prefix, self.read, rows)
                prefix = None
            yield
        self.completions, self.is_exact = tree.completions(), tree.is_exact

    @property
    def cost(self) -> int:
        """Steps of the model that it has taken so far: ids that were read, and nodes that were expanded."""
        return 0 if self._rows is None else self._rows.cost


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
        self.cost = 0
        """Steps of the model."""
        self._V = description.alphabet.size
        start = runner.start([SamplingSettings(begins=False)] * WIDTH)
        self._template = {name: array for name, array in vars(start).items() if name not in ("hidden", "cell")}
        self._hidden, self._cell = start.hidden[:, 0], start.cell[:, 0]  # of the root, [L, H]
        shape = (MOST_NODES, description.layers, description.hidden_size)
        self.hidden = np.empty(shape, start.hidden.dtype)
        """[nodes, L, H]"""
        self.cell = np.empty((MOST_NODES, *start.cell.shape[::2]), np.float32)
        """[nodes, L, H], or [nodes, 0, H] if the model has no cell."""

    def read(self, ids: Ids, prefixes: Prefixes) -> Generator[None, None, Prefix | None]:
        """Reads all of ``ids`` except the last, which the root feeds in. Returns the longest known prefix."""
        prefix = prefixes.find(ids) if prefixes.size and len(ids) else START
        batch = self._batch(np.array([BOUNDARY]), self._hidden[:, None], self._cell[:, None])
        place = 0
        if prefix is not START:
            batch.hidden, batch.cell = prefix.hidden[:, None].copy(), prefix.cell[:, None].copy()
            place = prefix.length + 1
            batch.last_id = ids[place - 1 : place]
        while place < len(ids):
            part = ids[place : place + READ_IDS, None]
            self._runner.advance(batch, part[-1:], np.zeros((1, 1), np.float32), read=part[:-1])
            place += len(part)
            self.cost += len(part)
            if prefixes.size and place - 1 - prefix.length >= SPACING:
                prefix = prefixes.keep(ids[: place - 1], prefix, batch.hidden[:, 0], batch.cell[:, 0])
            yield
        self._hidden, self._cell = batch.hidden[:, 0], batch.cell[:, 0]
        return prefix if prefixes.size and len(ids) else None

    def _batch(self, last_id: Ids, hidden: NDArray[np.generic], cell: NDArray[np.float32]) -> Batch:
        own = {name: array[: len(last_id)] for name, array in self._template.items()}
        return Batch(**{**own, "last_id": last_id, "hidden": hidden, "cell": cell})

    def advance(self, ids: Ids, parents: Ids, first: int) -> NDArray[np.float64]:
        """Feeds in the ``ids`` of nodes behind their ``parents``, and keeps their states from number ``first`` on.

        Returns the log-probabilities of the next ids, [nodes, V].
        """
        if first == 0:
            hidden, cell = self._hidden[:, None], self._cell[:, None]
        else:
            hidden = np.ascontiguousarray(self.hidden[parents].transpose(1, 0, 2))
            cell = np.ascontiguousarray(self.cell[parents].transpose(1, 0, 2))
        batch = self._batch(ids, hidden, cell)
        forced = np.full((1, len(ids)), BOUNDARY, np.int64)
        steps = self._runner.advance(batch, forced, np.zeros((1, len(ids)), np.float32), alternatives=self._V)
        self.cost += len(ids)
        self.hidden[first : first + len(ids)] = batch.hidden.transpose(1, 0, 2)
        self.cell[first : first + len(ids)] = batch.cell.transpose(1, 0, 2)
        logprobs = np.empty((len(ids), self._V), np.float64)
        np.put_along_axis(logprobs, steps.top_ids[0], steps.top_logprobs[0].astype(np.float64), 1)
        return logprobs
