"""The gates: the inside of a trained LSTM while it reads a text.

Two views after Karpathy, Johnson & Li ("Visualizing and Understanding Recurrent Networks", 2015). How often each
unit's gates are saturated: a forget gate that stays open carries its cell along unchanged, one that stays shut makes
its unit forget at every character. And the text itself, each character coloured by the state of one cell after reading
it: some cells keep track of something that a person can name.

Shapes: L layers, T characters, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from ..learning.network import Network
from .unrolled import Step, step

GATES = ("input", "forget", "candidate", "output")
"""In the order in which PyTorch stacks them in one matrix."""

SATURATED = 0.1
"""A gate is saturated within this part of its range from either end."""


class GatesError(ValueError):
    """The network has no gates, or lacks the layer or unit that was asked for."""


@dataclass(frozen=True)
class Trace:
    """The inside of an LSTM at each character of a text that it read from the start of a document."""

    gates: NDArray[np.float32]
    """[4, L, T, H], in the order of ``GATES``; candidates in (-1, 1), the others in (0, 1)."""
    cells: NDArray[np.float32]
    """[L, T, H]: tanh of the cell state after each character, in (-1, 1)."""
    hidden: NDArray[np.float32]
    """[L, T, H]: the hidden state after each character, in (-1, 1)."""

    def saturation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the fractions of the text in which each gate is shut and open, [4, L, H] each.

        A candidate counts as shut near -1 and as open near 1.
        """
        low = np.array([-1.0 if name == "candidate" else 0.0 for name in GATES])[:, None, None, None]
        place = (self.gates - low) / (1 - low)  # in the gate's range, from 0 to 1
        return (place < SATURATED).mean(axis=2), (place > 1 - SATURATED).mean(axis=2)


@torch.no_grad()
def trace(network: Network, ids: Ids) -> Trace:
    """Feeds the boundary and then ``ids`` [T] to ``network``. Raises ``GatesError`` if its cell isn't an LSTM."""
    if network.architecture.cell != "lstm":
        raise GatesError(f"the network has {network.architecture.cell} cells; only an lstm has a cell state to show")
    inputs = network.embedding(torch.from_numpy(np.concatenate([[BOUNDARY], ids])))  # (T + 1, E)
    gates, cells, hiddens = [], [], []
    for layer, before in zip(network.layers, network.initial_state(1), strict=True):
        state = tuple(part[0, 0] for part in before)  # (H,) each
        steps: list[Step] = []
        for x in inputs:
            steps.append(step("lstm", layer, x, state))
            state = steps[-1].state
        inputs = torch.stack([one.state[0] for one in steps])  # (T + 1, H)
        gates.append(torch.stack([torch.stack(one.gates) for one in steps[1:]], dim=1))  # (4, T, H)
        cells.append(torch.stack([one.state[1].tanh() for one in steps[1:]]))  # (T, H)
        hiddens.append(inputs[1:])
    return Trace(torch.stack(gates, 1).numpy(), torch.stack(cells).numpy(), torch.stack(hiddens).numpy())


def telling_units(cells: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the units of ``cells`` [T, H], first those that keep either sign strongly and for long.

    The order is that of the product of a unit's standard deviation and its mean autocorrelation at lags of 1 to 10
    characters.
    """
    spread = cells.std(axis=0)
    apart = cells - cells.mean(axis=0)
    correlations = [(apart[lag:] * apart[:-lag]).mean(axis=0) for lag in range(1, min(10, len(cells) - 1) + 1)]
    scores = np.sum(correlations, axis=0) / np.maximum(spread, 1e-6)
    return np.argsort(-scores, kind="stable")


def limits(gate: str) -> tuple[float, float]:
    """Returns the values below and above which a gate counts as saturated."""
    if gate == "candidate":  # its range is twice as wide
        return 2 * SATURATED - 1, 1 - 2 * SATURATED
    return SATURATED, 1 - SATURATED


def ends(gate: str) -> tuple[str, str]:
    """Returns how to call the two ends of a gate's range."""
    return ("near -1", "near 1") if gate == "candidate" else ("shut", "open")


def unit_of(trace: Trace, layer: int, unit: int | None) -> int:
    """Returns ``unit``, or the most telling one of ``layer`` if it is None.

    Raises ``GatesError`` if the network lacks the layer or the unit.
    """
    layers, _, units = trace.cells.shape
    if not 0 <= layer < layers:
        held = "only layer 0" if layers == 1 else f"layers 0 to {layers - 1}"
        raise GatesError(f"there is no layer {layer}: the network has {held}")
    if unit is None:
        return int(telling_units(trace.cells[layer])[0])
    if not 0 <= unit < units:
        raise GatesError(f"there is no unit {unit}: each layer has units 0 to {units - 1}")
    return unit


def means(trace: Trace) -> Sequence[tuple[str, float, float]]:
    """Returns each gate's name and the fractions of the text in which it is shut and open, the mean over all units."""
    shut, open_ = trace.saturation()
    return [(name, float(shut[gate].mean()), float(open_[gate].mean())) for gate, name in enumerate(GATES)]
