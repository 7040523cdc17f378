"""A long stream: one row that reads a text of any length, a part at a time.

Between two parts it has no row, only its place. It continues from the state behind the ids that it has read: from
a snapshot at the end of a turn, and the ids since, which it reads again in silence. So no turn of other rows is cut.

Invariant: it remembers the ids of one part, whatever the length of the text; each id comes out once, with the bits that
it has in a stream of the whole text.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nextchar_model.alphabet import Ids
from nextchar_model.batch import Batch

from .snapshot import Snapshot
from .stream import End, Stream

_NEAR = 512
"""Ids to the end of a part from which states are kept: two of the longest turns."""

_NO_IDS: Ids = np.empty(0, np.int64)


class LongStream(Stream):
    """Reads nothing at first. Each id that it reads later comes out with its log-probability."""

    def __init__(self, *, document_start: Snapshot, alternatives: int, details: bool, caller: str) -> None:
        """``document_start`` is the state in which each text begins. The rest is as in ``Stream``."""
        super().__init__(
            read=_NO_IDS,
            count=0,
            alternatives=alternatives,
            details=details,
            reports_reading=True,
            most_snapshots=1,
            start=document_start,
            caller=caller,
        )
        self._document_start = document_start

    # The lane's side.

    def keep_state(self, batch: Batch, row: int) -> None:
        """Keeps the state of ``row`` if the part is nearly read."""
        if self.left <= _NEAR:
            self.snapshots.add(Snapshot.of(batch, row, self.read_count))

    def end(self, end: End | Exception) -> None:
        """Ends the stream for good, or its part: then ``go_on`` may follow."""
        if self._end is None or end is End.DRAINED:  # which comes between two parts, too
            self._end = end

    # The event loop's side.

    @property
    def is_read(self) -> bool:
        """Whether its part has ended, and all ids were taken."""
        return self._end is not None and not self._outbox

    def rest(self) -> None:
        """Makes it wait for more, after the end of a part was taken. ``end`` and ``wake`` end that."""
        if self._end is End.COUNT:
            self._end = None

    def go_on(self, ids: Ids, *, begins: bool) -> None:
        """Lets it read ``ids`` next, of a new text if it ``begins``. Its last part was taken to the end.

        The caller must hand it to ``Admission.park`` afterwards.
        """
        if begins:
            self.snapshots.clear()
            self.start, self.read = self._document_start, _NO_IDS
        elif self.snapshots:
            snapshot = self.snapshots.pop()
            self.start, self.read = replace(snapshot, consumed=0), self.read[snapshot.consumed :]
        self.silent = len(self.read)
        self.read = np.concatenate([self.read, ids])
        self.read_count = 0
        self.rest()
