"""Evaluation: how well a model predicts a text, in nats and bits a character.

Used by the trainer on its own network, and by ``nextchar-train evaluate`` on checkpoints and exported
files alike: whatever implements ``Scorer`` is evaluated in the same way.

A text is a document: the boundary comes before its first character. Both protocols predict every
character of the text exactly once, so their figures compare, and those of alphabets that spell characters differently:

- *stateful*: one pass, the state carried from the first character to the last;
- *windows*: the text is cut into windows of 256 characters, the last one may be shorter. Each window
  starts from state zero, is given the character before it (the boundary, before the first window), and
  predicts its own characters. The context is 1 to 256 characters, as with a transformer of block 256.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nextchar_training.alphabet import BOUNDARY, Ids, Spelling
from nextchar_training.network import Network, State

WINDOW = 256
"""Characters of a window."""

_CHUNK = 1024  # ids scored at a time, so that memory stays bounded
_BATCH = 64  # windows scored at a time

S = TypeVar("S")


class Scorer(Protocol[S]):
    """A model that reads ids and says how likely each was. Its state ``S`` is its own affair."""

    def initial_state(self, batch: int) -> S:
        """The state of ``batch`` rows before a document."""
        ...

    def score(self, last_id: Ids, ids: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """Reads ``ids`` [T, B]; each row follows its ``last_id`` [B] and ``state``.

        Returns the log-probability of each id in nats, [T, B], and the state before the last id is read.
        """
        ...


class NetworkScorer:
    """A PyTorch network as a ``Scorer``."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def initial_state(self, batch: int) -> State:
        """Zero."""
        return self.network.initial_state(batch)

    @torch.no_grad()
    def score(self, last_id: Ids, ids: NDArray[np.int64], state: State) -> tuple[NDArray[np.float32], State]:
        """Dropout is off while it scores, whatever mode the network is in."""
        device = next(self.network.parameters()).device
        targets = torch.from_numpy(ids).to(device)  # (T, B)
        inputs = torch.cat([torch.from_numpy(last_id).to(device)[None], targets[:-1]])
        training = self.network.training
        self.network.eval()
        logits, state = self.network(inputs, state)  # (T, B, V)
        self.network.train(training)
        loss: Tensor = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        return -loss.view(targets.shape).cpu().numpy(), state


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on a text, in nats a character, under both protocols."""

    characters: int
    stateful: float
    windows: float


def evaluate(scorer: Scorer[S], text: Spelling) -> Evaluation:
    """The loss on ``text``, at least one character, under both protocols."""
    return Evaluation(len(text.text), stateful_loss(scorer, text), windows_loss(scorer, text))


def stateful_loss(scorer: Scorer[S], text: Spelling) -> float:
    """The loss in nats a character, the state carried over the whole text."""
    state = scorer.initial_state(1)
    last_id = np.array([BOUNDARY])
    total = 0.0
    for chunk in np.split(text.ids[:, None], range(_CHUNK, len(text.ids), _CHUNK)):  # each (T, 1)
        logprob, state = scorer.score(last_id, chunk, state)
        last_id = chunk[-1]
        total -= float(logprob.sum(dtype=np.float64))
    return total / len(text.text)


def windows_loss(scorer: Scorer[S], text: Spelling) -> float:
    """The loss in nats a character, in windows of 256 characters, each from state zero."""
    lengths = np.add.reduceat(text.lengths, np.arange(0, len(text.text), WINDOW))  # ids of each window
    ends = np.cumsum(lengths)
    places = (ends - lengths)[:, None] + np.arange(lengths.max())  # of the ids of each window, and beyond its end
    real = places < ends[:, None]
    windows = np.where(real, text.ids[np.minimum(places, len(text.ids) - 1)], BOUNDARY)
    last_ids = np.concatenate([[BOUNDARY], text.ids[ends[:-1] - 1]])
    total = 0.0
    for start in range(0, len(windows), _BATCH):
        rows = slice(start, start + _BATCH)
        state = scorer.initial_state(len(windows[rows]))
        logprob, _ = scorer.score(last_ids[rows], np.ascontiguousarray(windows[rows].T), state)  # (T, B)
        total -= float(logprob.T[real[rows]].sum(dtype=np.float64))
    return total / len(text.text)


def bits(nats: float) -> float:
    """``nats`` in bits."""
    return nats / math.log(2)
