"""The development part: held out of the text to train on, as the held-out part is of the whole.

Options are chosen by the losses on it, so that the held-out part can judge the choice. It is the end of the training
part of a dataset: the last tenth of the characters, or a tenth of the documents, which are shuffled. So the ids are the
same with and without it, unless the last documents are held out (see ``Rules.keeps_order``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.decoder import continuing

from .ids import IdSequence

_BLOCK = 2**20  # ids in memory at a time


def development_from(training: IdSequence, alphabet: Alphabet, *, has_documents: bool) -> int:
    """Returns the place in ``training``, all that isn't held out, of the first id of the development part.

    That is its end if there is one document or character only. ``has_documents`` says whether each document ends with
    the boundary. Reads all ids, unless each is a character.
    """
    marked = ~continuing(alphabet)  # the beginnings of characters, [V]
    if has_documents:
        marked = np.arange(alphabet.size) == BOUNDARY  # the ends of documents
    elif marked.all():
        return len(training) * 9 // 10
    starts = range(0, len(training), _BLOCK)
    counts = [int(np.count_nonzero(marked[training[start : start + _BLOCK]])) for start in starts]
    kept = sum(counts) * 9 // 10
    if kept == 0:
        return len(training)
    if has_documents:
        return _place(training, marked, counts, kept - 1) + 1
    return _place(training, marked, counts, kept)


def _place(ids: IdSequence, marked: NDArray[np.bool_], counts: Sequence[int], number: int) -> int:
    """Returns the place of the marked id with this ``number``; ``counts`` are those of the marked ids of each block."""
    block = int(np.searchsorted(np.cumsum(counts), number, side="right"))
    start = block * _BLOCK
    places = np.flatnonzero(marked[ids[start : start + _BLOCK]])
    return start + int(places[number - sum(counts[:block])])
