"""Dynamic evaluation: the loss of a model that learns along the text, in one of two forms or in both together.

- An n-gram model of the text so far is mixed with the network: ``nextchar_model.adaptation`` has the mixture, for which
  an id is the character of that code point.
- The network's weights take gradient steps on the text so far: an ``AdaptingScorer`` in place of a fixed one.

Beside ``evaluation``, whose figures are those of a fixed model; they don't compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from nextchar_model.adaptation import Adaptive
from nextchar_model.alphabet import BOUNDARY, Alphabet, Spelling

from .evaluation import Scorer

S = TypeVar("S")

MOST_LEARNT = 2**22
"""Most characters of a training text that are worth learning first: the n-gram model forgets, and they take half a
minute."""

_CHUNK = 1024  # ids scored at a time: a multiple of the segments of an ``AdaptingScorer``


@dataclass(frozen=True)
class DynamicLosses:
    """The losses of a dynamic evaluation, in nats per character."""

    network: float
    """Of the scorer by itself: the stateful loss, if it is a fixed one."""
    mixed: float | None
    """Of its mixture with an n-gram model, if there is one."""


def mixture(alphabet: Alphabet, learned: Iterable[Spelling] = ()) -> Adaptive:
    """Returns a mixture for the ids of ``alphabet`` whose n-gram model has read ``learned``."""
    made = Adaptive(len(alphabet.symbols) + 1)
    for document in learned:
        made.learn(map(chr, document.ids.tolist()))
    return made


def dynamic_losses(
    scorer: Scorer[S],
    documents: Sequence[Spelling],
    mixture: Adaptive | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> DynamicLosses:
    """Returns the losses on ``documents``, which are read once, one after another.

    The state is carried through each document. The counts of the ``mixture``, and the weights if ``scorer`` adapts
    them, are carried on through all. ``progress`` is called with the fraction done.
    """
    total = sum(len(document.ids) for document in documents)
    network: list[float] = []
    mixed: list[float] = []
    for document in documents:
        if mixture is not None:
            mixture.begin()
        state, last_id = scorer.initial_state(1), np.array([BOUNDARY])
        for first in range(0, len(document.ids), _CHUNK):
            ids = document.ids[first : first + _CHUNK]
            scored, state = scorer.score(last_id, ids[:, None], state)  # (T, 1)
            last_id = ids[-1:]
            logprobs = scored[:, 0].tolist()
            network += logprobs
            if mixture is not None:
                mixed.extend(map(mixture.logprob, map(chr, ids.tolist()), logprobs))
            progress(len(network) / total)
    characters = sum(len(document.text) for document in documents)
    return DynamicLosses(
        network=-math.fsum(network) / characters,
        mixed=None if mixture is None else -math.fsum(mixed) / characters,
    )
