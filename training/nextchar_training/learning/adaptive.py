"""Dynamic evaluation: the loss of a model that is mixed with an n-gram model, which learns along the text.

Beside ``evaluation``, whose figures are those of the model alone; they don't compare. ``nextchar_model.adaptation`` has
the mixture, for which an id is the character of that code point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from nextchar_model.adaptation import Adaptive
from nextchar_model.alphabet import BOUNDARY, Alphabet, Spelling

from .evaluation import Scorer

S = TypeVar("S")

MOST_LEARNT = 2**22
"""Most characters of a training text that are worth learning first: the n-gram model forgets, and they take half a
minute."""

_CHUNK = 1024  # ids scored at a time


def adaptive_loss(
    scorer: Scorer[S],
    documents: Sequence[Spelling],
    alphabet: Alphabet,
    learned: Iterable[Spelling] = (),
    progress: Callable[[float], None] = lambda fraction: None,
) -> float:
    """Returns the loss in nats per character: the state carried through each of ``documents``, the counts through all.

    The n-gram model reads ``learned`` first. ``progress`` is called with the fraction done.
    """
    mixture = Adaptive(len(alphabet.symbols) + 1)
    for document in learned:
        mixture.learn(map(chr, document.ids.tolist()))
    total = sum(len(document.ids) for document in documents)
    found: list[float] = []
    for document in documents:
        mixture.begin()
        state, last_id = scorer.initial_state(1), np.array([BOUNDARY])
        for first in range(0, len(document.ids), _CHUNK):
            ids = document.ids[first : first + _CHUNK]
            logprobs, state = scorer.score(last_id, ids[:, None], state)  # (T, 1)
            last_id = ids[-1:]
            found.extend(map(mixture.logprob, map(chr, ids.tolist()), logprobs[:, 0].tolist()))
            progress(len(found) / total)
    return -math.fsum(found) / sum(len(document.text) for document in documents)
