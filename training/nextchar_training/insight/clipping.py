"""The clipping: a training whose gradients explode, with and without the remedy.

If a network's recurrent weights are large, the gradient grows by a factor at every character back (Bengio, Simard &
Frasconi 1994), and one step down such a gradient throws the weights far away. Clipping shortens a gradient whose norm
is above a limit, and keeps its direction (Pascanu, Mikolov & Bengio 2013). Every training of nextchar clips.

Plain gradient descent, because AdamW divides by the size of past gradients, which hides the case. Used by the verb
``gradients``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..data.batches import Batches
from ..data.split import Split
from ..learning.network import Network, detached, restarted
from ..learning.recipe import Architecture, Recipe
from .gradients import GradientRow, held_out_ids, new_network, norms_of

SCALE = 2.5
"""Factor of the recurrent weights, which are orthogonal at first: they neither shrink nor stretch a vector."""

CLIP_NORM = 1.0
"""The limit, the same as in every training."""

STEPS = 200
"""Steps of each training."""

LEARNING_RATE = 2.0
"""Of plain gradient descent."""


@dataclass(frozen=True)
class ClippingRow:
    """A step of a training whose gradients explode."""

    clipped: bool
    step: int
    gradient_norm: float
    """The norm of the gradient at all weights, before it is clipped."""
    loss: float
    """The loss of the batch in nats per id."""


def exploding_gradients(split: Split, architecture: Architecture, recipe: Recipe) -> list[GradientRow]:
    """Returns the gradients of a network whose recurrent weights are ``SCALE`` times the first ones of ``recipe``."""
    return norms_of(_scaled(architecture, recipe), "scaled", held_out_ids(split))


def train_both_ways(split: Split, architecture: Architecture, recipe: Recipe) -> list[ClippingRow]:
    """Trains that network twice, without clipping and with it, on the same batches.

    A training ends early if its loss isn't finite any more.
    """
    return [row for clipped in (False, True) for row in _steps(split, architecture, recipe, clipped=clipped)]


def _scaled(architecture: Architecture, recipe: Recipe) -> Network:
    network = new_network(architecture, recipe)
    with torch.no_grad():
        for layer in network.layers:
            layer.get_parameter("weight_hh_l0").mul_(SCALE)
    return network


def _steps(split: Split, architecture: Architecture, recipe: Recipe, *, clipped: bool) -> list[ClippingRow]:
    network = _scaled(architecture, recipe)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    batches = Batches(
        split.training,
        split.line_end,
        batch_size=recipe.batch_size,
        sequence_length=recipe.sequence_length,
        seed=recipe.seed,
        continuing=split.continuing,
    )
    state = network.initial_state(recipe.batch_size)
    rows: list[ClippingRow] = []
    for step in range(1, STEPS + 1):
        batch = next(batches)
        logits, after = network(batch.inputs, restarted(state, batch.begins))  # (T, B, V)
        loss = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM if clipped else math.inf)
        rows.append(ClippingRow(clipped, step, float(norm), loss.item()))
        if not (math.isfinite(rows[-1].loss) and math.isfinite(rows[-1].gradient_norm)):
            break
        optimizer.step()
        state = detached(after)
    return rows
