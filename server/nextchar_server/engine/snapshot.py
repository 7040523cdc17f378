"""Snapshots: the memory of a row between two ids, and the ids since.

A lane takes one of each stream every ``SNAPSHOT_IDS`` ids, at the end of a turn. The service keeps the latest one with
the ids since in a trail, from which the state after any later id follows, so that a stream can continue elsewhere.

Invariant: a row that starts from a snapshot and reads the ids after it has the bits of the row that was there before.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids
from nextchar_model.batch import Batch, SamplingSettings
from nextchar_model.constraints.automaton import MOST_SLACK
from nextchar_model.runner import Runner

SNAPSHOT_IDS = 48
"""Ids between two snapshots of a stream. One costs 2 µs and a copy of the state; fewer ids make shorter tokens."""


@dataclass(slots=True, eq=False)
class Snapshot:
    """The state of one row. Nobody changes it; to freeze it would take as long as the copy does.

    Shapes: L layers, H hidden size; C is L, or 0 if the model has no ``cell``.
    """

    consumed: int
    """Number of ids that its stream had read and sampled."""
    last_id: int
    automaton_state: int
    """State of the row's automaton, which only sampled ids change."""
    hidden: NDArray[np.generic]
    """[L, H]"""
    cell: NDArray[np.float32]
    """[C, H]"""
    slack: int = MOST_SLACK

    @staticmethod
    def of(batch: Batch, row: int, consumed: int) -> Snapshot:
        """Returns a copy of the state of ``row``, whose stream had consumed ``consumed`` ids."""
        return Snapshot(
            consumed,
            int(batch.last_id[row]),
            int(batch.automaton_state[row]),
            batch.hidden[:, row].copy(),
            batch.cell[:, row].copy(),
            int(batch.slack[row]),
        )

    @staticmethod
    def of_document_start(runner: Runner) -> Snapshot:
        """Returns the state at the start of a document."""
        return Snapshot.of(runner.start([SamplingSettings()]), 0, 0)

    def put_into(self, batch: Batch, row: int) -> None:
        """Replaces the state of ``row``."""
        batch.last_id[row] = self.last_id
        batch.automaton_state[row] = self.automaton_state
        batch.slack[row] = self.slack
        batch.hidden[:, row] = self.hidden
        batch.cell[:, row] = self.cell

    def after(self, ids: Ids, runner: Runner) -> Snapshot:
        """Returns the state after ``ids``, of which there is at least one."""
        batch = runner.start([SamplingSettings()])
        replace(self, automaton_state=0).put_into(batch, 0)  # of no automaton here
        column = ids[:, None]
        runner.advance(batch, column[-1:], np.zeros((1, 1), np.float32), read=column[:-1])
        after = Snapshot.of(batch, 0, self.consumed + len(ids))
        return replace(after, automaton_state=self.automaton_state, slack=self.slack)


class Snapshots(list[Snapshot]):
    """The latest snapshots of a stream, oldest first. Its lane adds some while its reader takes others.

    An empty deque would take 760 bytes.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        """Keeps ``most`` snapshots, at least one."""
        self._most = max(1, most)

    def add(self, snapshot: Snapshot) -> None:
        """Adds ``snapshot``, in place of the oldest one if there are too many."""
        self.append(snapshot)
        del self[: -self._most]  # in one step and never all, because the reader may take the oldest one just now


class Trail:
    """A snapshot of a stream, and the ids that it has consumed since."""

    __slots__ = ("_coming", "_first", "_parts", "_snapshot")

    def __init__(self, start: Snapshot, read: Ids) -> None:
        """A stream starts from ``start`` and reads ``read``."""
        self._snapshot = replace(start, consumed=0) if start.consumed else start
        self._coming: Snapshot | None = None  # later than the place that was asked for last
        self._parts: list[NDArray[np.integer]] = [read]
        self._first = 0  # ids consumed before the first part

    def add(self, ids: NDArray[np.integer]) -> None:
        """Adds the ids that the stream sampled next."""
        self._parts.append(ids)

    def move(self, snapshots: list[Snapshot], place: int) -> None:
        """Takes those of ``snapshots`` with at most ``place`` ids, and forgets all before the latest one."""
        coming = self._coming
        while coming is not None or snapshots:
            if coming is None:
                coming = snapshots.pop(0)  # the lane removes the oldest one only once it has added another
            if coming.consumed > place:
                break
            self._snapshot, coming = coming, None
        self._coming = coming
        parts, consumed = self._parts, self._snapshot.consumed
        while parts and self._first + len(parts[0]) <= consumed:
            self._first += len(parts.pop(0))

    def until_now(self) -> tuple[Snapshot, Ids]:
        """Returns the snapshot, and all ids since."""
        return self.until(sys.maxsize)

    def until(self, place: int) -> tuple[Snapshot, Ids]:
        """Returns the snapshot, and the ids from it to the first ``place`` ids of the stream."""
        ids = np.concatenate(self._parts, dtype=np.int64) if self._parts else np.empty(0, np.int64)
        return self._snapshot, ids[self._snapshot.consumed - self._first : place - self._first]
