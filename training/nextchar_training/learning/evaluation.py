"""Evaluation: how well a model predicts a text, in nats and bits per character.

The trainer evaluates its own network, ``nextchar-train evaluate`` checkpoints and exported files: every ``Scorer`` is
evaluated in the same way.

A text is a sequence of documents. Each starts from state zero after the boundary. Both protocols predict every
character exactly once, and the end of every complete document. So their figures are comparable, also between alphabets
that spell characters differently:

- *stateful*: one pass over each document, the state carried from its first character to its last;
- *windows*: each document is cut into windows of 256 characters, the last of which may be shorter. A window starts from
  state zero, reads the character before it (the boundary, before the first window), and predicts its own characters.
  The context is 1 to 256 characters, like that of a transformer with block size 256.

Shapes: T ids of a passage, B passages side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
"""Characters per window."""

_CHUNK = 1024  # ids scored at a time, to bound memory
_BATCH = 64  # passages scored at a time
_LOGITS = 2**25  # that a network makes at a time, 128 MiB in float32: those of a whole chunk of up to 512 ids

S = TypeVar("S")


class Passage(NamedTuple):
    """Some ids, the number of characters that they spell, and the id before them."""

    before: int
    ids: Ids
    characters: int


class Scorer(Protocol[S]):
    """A model that reads ids and returns how likely each was. Nobody else looks into its state ``S``."""

    def initial_state(self, batch: int) -> S:
        """Returns the state of ``batch`` rows before a document."""
        ...

    def score(self, last_id: Ids, ids: NDArray[np.int64], state: S) -> tuple[NDArray[np.float32], S]:
        """Scores ``ids`` [T, B]; each row follows its ``last_id`` [B] and ``state``.

        Returns the log-probability of each id in nats, [T, B], and the state before the last id is read.
        """
        ...


class NetworkScorer:
    """A PyTorch network as a ``Scorer``, in float32 or with products in bfloat16."""

    def __init__(self, network: Network, *, bf16: bool = False) -> None:
        self.network = network
        self._bf16 = bf16

    def initial_state(self, batch: int) -> NetworkState:
        """Returns zero."""
        return self.network.initial_state(batch)

    @torch.no_grad()
    def score(
        self, last_id: Ids, ids: NDArray[np.int64], state: NetworkState
    ) -> tuple[NDArray[np.float32], NetworkState]:
        """Scores without dropout, and leaves the network in the mode that it was in."""
        device = next(self.network.parameters()).device
        targets = torch.from_numpy(ids).to(device)  # (T, B)
        inputs = torch.cat([torch.from_numpy(last_id).to(device)[None], targets[:-1]])
        training = self.network.training
        self.network.eval()
        losses: list[Tensor] = []
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            outputs, state = self.network.read(inputs, state)  # (T, B, H)
            rows = max(1, _LOGITS // self.network.architecture.alphabet_size)
            pieces = zip(torch.split(outputs.flatten(0, 1), rows), torch.split(targets.flatten(), rows), strict=True)
            for of_outputs, of_targets in pieces:
                logits = self.network.readout(of_outputs).float()  # (rows, V)
                losses.append(functional.cross_entropy(logits, of_targets, reduction="none"))
        self.network.train(training)
        return -torch.cat(losses).view(targets.shape).cpu().numpy(), state


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on a text, in nats per character, under both protocols."""

    characters: int
    stateful: float
    windows: float


def evaluate(
    scorer: Scorer[Any], documents: Sequence[Spelling], progress: Callable[[float], None] | None = None
) -> Evaluation:
    """Returns the loss on ``documents``, which hold at least one character, under both protocols.

    ``progress`` is called with the fraction done, from above 0 to 1. It counts the ids along the text that are scored
    one after another, since a batch of passages takes little longer than one.
    """
    whole, cut = _whole(documents), windows(documents)
    share = _steps(whole) / (_steps(whole) + _steps(cut))
    report = progress or (lambda fraction: None)
    return Evaluation(
        characters=sum(len(document.text) for document in documents),
        stateful=_loss(scorer, whole, lambda fraction: report(share * fraction)),
        windows=_loss(scorer, cut, lambda fraction: report(share + (1 - share) * fraction)),
    )


def stateful_loss(scorer: Scorer[S], documents: Sequence[Spelling]) -> float:
    """Returns the loss in nats per character, the state carried through each document."""
    return _loss(scorer, _whole(documents))


def windows_loss(scorer: Scorer[S], documents: Sequence[Spelling]) -> float:
    """Returns the loss in nats per character, in windows of 256 characters, each from state zero."""
    return _loss(scorer, windows(documents))


def windows(documents: Sequence[Spelling]) -> list[Passage]:
    """Cuts ``documents`` into windows of 256 characters."""
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
    """Returns an evenly spaced subset of about ``characters`` characters.

    Evenly spaced, because the start of a text may not be representative.
    """
    return list(passages[:: max(1, round(sum(passage.characters for passage in passages) / characters))])


def nats(scorer: Scorer[S], passages: Sequence[Passage], progress: Callable[[float], None] | None = None) -> float:
    """Returns the loss in nats summed over all ids of ``passages``, each read from state zero.

    ``progress`` is called with the fraction done.
    """
    steps, done, total = _steps(passages), 0, 0.0
    for batch in _batches(passages):
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
            done += len(chunk)
            if progress is not None:
                progress(done / steps)
    return total


def _batches(passages: Sequence[Passage]) -> list[list[Passage]]:
    """Groups passages of similar length, so that few rows of a batch end much before the others."""
    by_length = sorted(passages, key=lambda passage: len(passage.ids))
    return [by_length[start : start + _BATCH] for start in range(0, len(by_length), _BATCH)]


def _steps(passages: Sequence[Passage]) -> int:
    """Returns the steps that scoring takes: of each batch, the length of its longest passage."""
    return sum(len(batch[-1].ids) for batch in _batches(passages))


def _whole(documents: Sequence[Spelling]) -> list[Passage]:
    """Returns each document as one passage."""
    return [Passage(BOUNDARY, document.ids, len(document.text)) for document in documents]


def _loss(scorer: Scorer[Any], passages: Sequence[Passage], progress: Callable[[float], None] | None = None) -> float:
    return nats(scorer, passages, progress) / sum(passage.characters for passage in passages)


def bits(nats: float) -> float:
    """Converts nats to bits."""
    return nats / math.log(2)
