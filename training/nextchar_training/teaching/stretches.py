"""Stretches: the parts into which a training text is cut for teachers to read side by side.

A document is read from its beginning, from state zero after the boundary, as a server would read it, and its end is
predicted too. A longer one is cut every 4,096 ids; each further part then starts with the 256 ids before it, of which
nothing is kept, so that the teacher has a state by then.

Invariant: the stretches depend on the ids alone, not on the machine, and their kept places cover the text exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nextchar_model.alphabet import BOUNDARY, Ids

from ..data.ids import IdSequence

LONGEST = 4096  # ids kept of a stretch, at most
CONTEXT = 256  # ids read before those kept, at most

_BLOCK = 2**20  # ids in memory at a time; stretches end with them
_ROWS = 64  # stretches read side by side, at most


@dataclass(frozen=True)
class Stretch:
    """A part of a text, read from state zero."""

    before: int
    """The id before the first one."""
    ids: Ids
    skipped: int
    """How many of the ids are only context."""
    place: int
    """The place in the text of the first id that is kept."""


def batches(ids: IdSequence) -> Iterator[list[Stretch]]:
    """Yields all stretches of a text, in groups of similar length, at most 64 each."""
    for start in range(0, len(ids), _BLOCK):
        by_length = sorted(_stretches(ids, start), key=lambda stretch: -len(stretch.ids))
        yield from (by_length[n : n + _ROWS] for n in range(0, len(by_length), _ROWS))


def _stretches(ids: IdSequence, start: int) -> Iterator[Stretch]:
    """Yields the stretches of the block that begins at ``start``."""
    origin = max(start - CONTEXT - 1, 0)  # the place of the first id that is read
    text = ids[origin : start + _BLOCK]
    begins = np.flatnonzero(text == BOUNDARY) + 1  # of documents
    cuts = {start - origin, len(text), *begins[(begins > start - origin) & (begins < len(text))].tolist()}
    edges = sorted(cuts)
    for first, last in pairwise(edges):
        for kept in range(first, last, LONGEST):
            earlier = begins[np.searchsorted(begins, kept, side="right") - 1] if len(begins) else -1
            begin = max(kept - CONTEXT, 0)
            if begin <= earlier <= kept:
                begin = int(earlier)
            before = BOUNDARY if origin + begin == 0 else int(text[begin - 1])
            yield Stretch(before, text[begin : min(kept + LONGEST, last)], kept - begin, origin + kept)
