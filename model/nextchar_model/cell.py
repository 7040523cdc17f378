"""The cell: the equations that a recurrent layer computes at each character.

The network, the graph and the model file all name their cell by it, so it needs no torch. x is the layer's input, h its
hidden state, W, U and b the weights and biases of the gate that they are named after; σ is the sigmoid, ⊙ the
elementwise product.

- ``rnn`` (Elman 1990): h' = tanh(W·x + U·h + b)
- ``gru`` (Cho et al. 2014), in the form that cuDNN and PyTorch compute, the reset gate after the product:
  r = σ(Wr·x + Ur·h + br), z = σ(Wz·x + Uz·h + bz), n = tanh(Wn·x + bn + r⊙(Un·h + dn)), h' = n + z⊙(h - n)
- ``lstm`` (Hochreiter & Schmidhuber 1997, the forget gate of Gers et al. 2000):
  i, f, o = σ(W·x + U·h + b), g = tanh(Wg·x + Ug·h + bg), c' = f⊙c + i⊙g, h' = o⊙tanh(c')

A hidden state always lies in (-1, 1).
"""

from __future__ import annotations

from typing import Literal

Cell = Literal["rnn", "gru", "lstm"]

ROW_BLOCKS: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
"""Blocks of H rows in a layer's weights. Their order is PyTorch's: the single sum; r, z, n; i, f, g, o."""

QUANTITIES: dict[Cell, tuple[str, ...]] = {
    "rnn": ("hidden",),
    "gru": ("reset", "update", "candidate", "hidden"),
    "lstm": ("input", "forget", "output", "candidate", "cell", "hidden"),
}
"""Names of a unit's gates and states: h'; r, z, n, h'; i, f, o, g, c', h'."""

Precision = Literal["int8", "fp32"]
"""The number format of a model file's weights and hidden states."""


def has_cell(cell: Cell, precision: Precision) -> bool:
    """Whether a layer carries a second state beside the hidden state that products read.

    An LSTM carries its cell. An int8 GRU carries its hidden state in float, because that moves by less than one step
    of the quantized one (see ``nextchar_training.export.layers``).
    """
    return cell == "lstm" or (cell == "gru" and precision == "int8")
