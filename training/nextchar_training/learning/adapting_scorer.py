"""A scorer that learns: a network that takes a gradient step after each segment of the text that it scores.

This is *dynamic evaluation* by gradient descent (Mikolov et al., "Recurrent neural network based language model", 2010;
in segments as in Krause et al., "Dynamic Evaluation of Neural Sequence Models", 2018). ``adaptive`` evaluates it. Its
figures don't compare with those of a fixed network.

Invariant: a segment is scored before it is learned, so no probability depends on an id that comes later.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nextchar_model.alphabet import Ids

from .network import Network, NetworkState, detached

SEGMENT = 16
"""Ids that are scored, and then learned, at a time."""
LEARNING_RATE = 0.003
"""Of the loss summed over a segment, in nats, so that shorter segments take smaller steps."""


class AdaptingScorer:
    """A copy of a network as a ``Scorer`` that adapts to all that it scores, one document after another.

    The weights are carried on from document to document; the state is the caller's, who begins each document with a new
    one. Gradients reach back to the beginning of a segment. There is no dropout. The network itself stays as it was.
    Takes twice the memory of the weights more, for the copy and its gradients.
    """

    def __init__(self, network: Network, *, learning_rate: float = LEARNING_RATE) -> None:
        self._network = copy.deepcopy(network).eval().requires_grad_(True)
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=learning_rate)

    def initial_state(self, batch: int) -> NetworkState:
        """Returns zero."""
        return self._network.initial_state(batch)

    def score(
        self, last_id: Ids, ids: NDArray[np.int64], state: NetworkState
    ) -> tuple[NDArray[np.float32], NetworkState]:
        """Scores and learns ``ids`` (T, B), in segments from the first one on.

        If T is no multiple of ``SEGMENT``, the last segment is shorter.
        """
        targets = torch.from_numpy(ids)  # (T, B)
        inputs = torch.cat([torch.from_numpy(last_id)[None], targets[:-1]])
        found: list[Tensor] = []
        for of_inputs, of_targets in zip(torch.split(inputs, SEGMENT), torch.split(targets, SEGMENT), strict=True):
            logits, after = self._network(of_inputs, state)  # (SEGMENT, B, V)
            losses = functional.cross_entropy(logits.flatten(0, 1), of_targets.flatten(), reduction="none")
            found.append(-losses.detach())
            state = detached(after)
            self._optimizer.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        return torch.cat(found).view(targets.shape).numpy(), state
