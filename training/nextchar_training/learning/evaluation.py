"""Evaluation: how well a model predicts a text, in nats and bits a character.

Used by the trainer on its own network, and by ``nextchar-train evaluate`` on checkpoints and exported
files alike: whatever implements ``Scorer`` is evaluated in the same way.

What is evaluated are documents, each from state zero and the boundary on. Both protocols predict every character
exactly once, and the end of a document where it is known, so their figures compare, and those of alphabets that spell
characters differently:

- *stateful*: one pass over a document, the state carried from its first character to its last;
- *windows*: a document is cut into windows of 256 characters, the last one may be shorter. Each window
  starts from state zero, is given the character before it (the boundary, before the first window), and
  predicts its own characters. The context is 1 to 256 characters, as with a transformer of block 256.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nextchar_model.alphabet import BOUNDARY, Ids, Spelling

from .network import Network, NetworkState

WINDOW = 256
"""Characters of a window."""

_CHUNK = 1024  # ids scored at a time, so that memory stays bounded
_BATCH = 64  # passages scored at a time

S = TypeVar("S")


class Passage(NamedTuple):
    """Some ids, which spell so many characters, and the id before them."""

    before: int
    ids: Ids
    characters: int


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
    """A PyTorch network as a ``Scorer``, in float32 or with products in bfloat16."""

    def __init__(self, network: Network, *, bf16: bool = False) -> None:
        self.network = network
        self._bf16 = bf16

    def initial_state(self, batch: int) -> NetworkState:
        """Zero."""
        return self.network.initial_state(batch)

    @torch.no_grad()
    def score(
        self, last_id: Ids, ids: NDArray[np.int64], state: NetworkState
    ) -> tuple[NDArray[np.float32], NetworkState]:
        """Dropout is off while it scores, whatever mode the network is in."""
        device = next(self.network.parameters()).device
        targets = torch.from_numpy(ids).to(device)  # (T, B)
        inputs = torch.cat([torch.from_numpy(last_id).to(device)[None], targets[:-1]])
        training = self.network.training
        self.network.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
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


def evaluate(scorer: Scorer[Any], documents: Sequence[Spelling]) -> Evaluation:
    """The loss on ``documents``, at least one character, under both protocols."""
    characters = sum(len(document.text) for document in documents)
    return Evaluation(characters, stateful_loss(scorer, documents), windows_loss(scorer, documents))


def stateful_loss(scorer: Scorer[S], documents: Sequence[Spelling]) -> float:
    """The loss in nats a character, the state carried over each document."""
    return _loss(scorer, [Passage(BOUNDARY, document.ids, len(document.text)) for document in documents])


def windows_loss(scorer: Scorer[S], documents: Sequence[Spelling]) -> float:
    """The loss in nats a character, in windows of 256 characters, each from state zero."""
    return _loss(scorer, windows(documents))


def windows(documents: Sequence[Spelling]) -> list[Passage]:
    """The windows of 256 characters of ``documents``."""
    found: list[Passage] = []
    for document in documents:
        ends = np.cumsum(document.lengths)[WINDOW - 1 :: WINDOW]
        before = BOUNDARY
        left = len(document.text)
        for ids in np.split(document.ids, ends[ends < document.lengths.sum()]):
            found.append(Passage(before, ids, min(left, WINDOW)))
            before = int(ids[-1])
            left -= WINDOW
    return found


def spread(passages: Sequence[Passage], characters: int) -> list[Passage]:
    """Every n-th of ``passages``, about so many ``characters``: the beginning of a text may not be like the rest."""
    return list(passages[:: max(1, round(sum(passage.characters for passage in passages) / characters))])


def nats(scorer: Scorer[S], passages: Sequence[Passage]) -> float:
    """The loss in nats of all ids of ``passages``, each read from state zero."""
    passages = sorted(passages, key=lambda passage: len(passage.ids))  # few of a batch end much before the others
    total = 0.0
    for start in range(0, len(passages), _BATCH):
        batch = passages[start : start + _BATCH]
        lengths = np.array([len(passage.ids) for passage in batch])
        padded = np.full((lengths.max(), len(batch)), BOUNDARY, np.int64)  # (T, B)
        for row, passage in enumerate(batch):
            padded[: len(passage.ids), row] = passage.ids
        state = scorer.initial_state(len(batch))
        last_id = np.array([passage.before for passage in batch])
        for first in range(0, len(padded), _CHUNK):
            chunk = padded[first : first + _CHUNK]
            logprob, state = scorer.score(last_id, chunk, state)
            last_id = chunk[-1]
            real = np.arange(first, first + len(chunk))[:, None] < lengths
            total -= float(logprob[real].sum(dtype=np.float64))
    return total


def _loss(scorer: Scorer[Any], passages: Sequence[Passage]) -> float:
    return nats(scorer, passages) / sum(passage.characters for passage in passages)


def bits(nats: float) -> float:
    """``nats`` in bits."""
    return nats / math.log(2)
