"""One step of a layer in the open: its gates and its states, by the equations in ``nextchar_model.cell``.

PyTorch's fused layers return the same states, but they hide the gates, and that h comes from c: the gradient at c would
lack the part that goes through h. Used by ``gates`` and ``gradients``.

Shapes: B sequences, or none; E inputs of the layer, H hidden size.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from nextchar_model.cell import Cell


class Step(NamedTuple):
    """A layer after one character."""

    state: tuple[Tensor, ...]
    """[..., H] each: (h,) of an RNN and a GRU, (h, c) of an LSTM."""
    gates: tuple[Tensor, ...]
    """[..., H] each, in PyTorch's order: none of an RNN; r, z, n of a GRU; i, f, g, o of an LSTM."""


def step(cell: Cell, layer: nn.Module, x: Tensor, state: tuple[Tensor, ...]) -> Step:
    """Feeds one character's input ``x`` [..., E] to ``layer``, whose state before it is ``state``."""
    h = state[0]
    of_x = functional.linear(x, layer.get_parameter("weight_ih_l0"), layer.get_parameter("bias_ih_l0"))
    of_h = functional.linear(h, layer.get_parameter("weight_hh_l0"), layer.get_parameter("bias_hh_l0"))
    if cell == "rnn":
        return Step(((of_x + of_h).tanh(),), ())
    if cell == "gru":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = of_x.chunk(3, dim=-1), of_h.chunk(3, dim=-1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        n = (n_x + r * n_h).tanh()
        return Step((n + z * (h - n),), (r, z, n))
    i, f, g, o = (of_x + of_h).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * state[1] + i * g
    return Step((o * c.tanh(), c), (i, f, g, o))
