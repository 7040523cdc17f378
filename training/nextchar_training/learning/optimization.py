"""The optimization: AdamW, with a learning rate that warms up and then follows a cosine to zero.

The schedule spans the whole budget of a training, be it minutes or epochs (Loshchilov & Hutter 2017, 2019).
"""

from __future__ import annotations

import math

import torch

from .network import Network
from .recipe import Recipe

_BETAS = (0.9, 0.99)
_WARM_UP = 0.05  # of the budget


def learning_rate_factor(fraction: float) -> float:
    """Returns the factor of the learning rate when ``fraction`` of the budget is spent."""
    if fraction < _WARM_UP:
        return max(fraction / _WARM_UP, 0.01)  # the first step should learn something
    return 0.5 * (1.0 + math.cos(math.pi * (fraction - _WARM_UP) / (1.0 - _WARM_UP)))


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Returns AdamW for ``network``, with weight decay on the matrices only."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=_BETAS,
        fused=True,
    )
