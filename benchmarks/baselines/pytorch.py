"""PyTorch behind the baselines that batch: ``nn.LSTM`` as eager PyTorch runs it, many rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextchar_training.learning.hardware import has_fast_bf16
from nextchar_training.learning.network import NetworkState
from nextchar_training.run.checkpoint import load_checkpoint


def fastest_type() -> torch.dtype:
    """Returns bfloat16 if this processor has instructions for it, and otherwise float32."""
    return torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32


class _Run(NamedTuple):
    """Rows in PyTorch: their last ids [1, B], and the network's state."""

    ids: Tensor
    state: NetworkState


class PyTorch:
    """A checkpoint's network with weights and states of type ``dtype``."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        checkpoint = load_checkpoint(path)
        self.alphabet = checkpoint.alphabet
        self._network = checkpoint.network().to(dtype)

    @torch.inference_mode()
    def begin(self, prompts: NDArray[np.int64], draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], _Run]:
        """Reads the prompts in one call of the network."""
        outputs, state = self._network.read(torch.from_numpy(prompts), self._network.initial_state(len(draws)))
        ids = _drawn(self._network.readout(outputs[-1]), torch.from_numpy(draws))
        return ids.numpy(), _Run(ids[None], state)

    @torch.inference_mode()
    def advance(self, state: _Run, draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], _Run]:
        """Takes the steps one by one."""
        ids, network_state = state
        taken = []
        for draw in torch.from_numpy(draws):
            logits, network_state = self._network(ids, network_state)  # (1, B, V)
            ids = _drawn(logits[0], draw)[None]
            taken.append(ids)
        return torch.cat(taken).numpy(), _Run(ids, network_state)

    @torch.inference_mode()
    def join(self, first: _Run, second: _Run) -> _Run:
        """Returns the rows of both."""
        layers = zip(first.state, second.state, strict=True)
        state = tuple(tuple(torch.cat(pair, 1) for pair in zip(*layer, strict=True)) for layer in layers)
        return _Run(torch.cat([first.ids, second.ids], 1), state)

    @torch.inference_mode()
    def take(self, state: _Run, rows: Sequence[int]) -> _Run:
        """Returns ``rows`` only."""
        index = torch.tensor(rows)
        return _Run(state.ids[:, index], tuple(tuple(one[:, index] for one in layer) for layer in state.state))


def _drawn(logits: Tensor, draws: Tensor) -> Tensor:
    """Draws an id [B] from each row of ``logits`` (B, V): the first whose cumulative probability exceeds the draw."""
    cumulative = logits.float().softmax(-1).cumsum(-1)
    ids = torch.searchsorted(cumulative, (draws * cumulative[:, -1])[:, None], right=True)[:, 0]
    return ids.clamp_(max=logits.shape[-1] - 1)  # rounding can make the draw as large as the sum
