"""The network: a character-level recurrent language model in PyTorch.

Takes ids and returns the logits of each next id. Only training uses it: the server runs the graph that ``export``
builds from its weights.

Shapes: B sequences, T characters, V ids in the alphabet, E embedding size, H hidden size, L layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from nextchar_model.cell import ROW_BLOCKS, Cell

from .recipe import Architecture

NetworkState = tuple[tuple[Tensor, ...], ...]
"""A tuple per layer: (hidden, cell) of an LSTM, (hidden,) of an RNN and a GRU, each of shape (1, B, H)."""


class Network(nn.Module):
    """Embedding, then recurrent layers of one kind of ``cell``, then a linear readout.

    Dropout is locked: each sequence has one mask per layer, the same at all characters (Gal & Ghahramani 2016). It
    applies to the embedding and to the output of each layer, never to the recurrent state. Each layer is a module of
    its own, because dropout inside a multi-layer ``nn.LSTM`` leaves the fused path.
    """

    def __init__(self, architecture: Architecture, *, dropout: float = 0.0, input_dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = architecture
        self.dropout = dropout
        self.input_dropout = input_dropout
        V, E, H = architecture.alphabet_size, architecture.embedding_size, architecture.hidden_size
        self.embedding = nn.Embedding(V, E)
        self.layers = nn.ModuleList(
            _layer(architecture.cell, E if n == 0 else H, H) for n in range(architecture.layers)
        )
        self.readout = nn.Linear(H, V)
        nn.init.zeros_(self.readout.bias)

    def initial_state(self, batch: int) -> NetworkState:
        """Returns the state of ``batch`` sequences before a document: zero."""
        zero = self.readout.weight.new_zeros(1, batch, self.architecture.hidden_size)
        tensors = 2 if self.architecture.cell == "lstm" else 1
        return tuple(tuple(zero.clone() for _ in range(tensors)) for _ in self.layers)

    def forward(self, ids: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Returns the logits of the id after each of ``ids``, and the state after the last.

        ``ids`` is int64 (T, B); the logits are float (T, B, V).
        """
        x, after = self.read(ids, state)
        return self.readout(x), after

    def read(self, ids: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Returns the outputs of the last layer for ``ids`` (T, B), float (T, B, H), and the state after the last.

        ``readout`` makes logits of any part of them, so that nobody has to hold V floats for each id.
        """
        x = _locked_dropout(self.embedding(ids), self.input_dropout, self.training)  # (T, B, E)
        after: list[tuple[Tensor, ...]] = []
        for layer, before in zip(self.layers, state, strict=True):
            # PyTorch's LSTM takes and returns a pair, its RNN and GRU the hidden state alone.
            x, state_after = layer(x, before if len(before) == 2 else before[0])  # (T, B, H)
            x = _locked_dropout(x, self.dropout, self.training)
            after.append(state_after if len(before) == 2 else (state_after,))
        return x, tuple(after)


def restarted(state: NetworkState, begins: Tensor) -> NetworkState:
    """Returns ``state`` with zero for the sequences that begin a document; ``begins`` is bool (B, 1)."""
    return tuple(tuple(one.masked_fill(begins, 0.0) for one in layer) for layer in state)


def detached(state: NetworkState) -> NetworkState:
    """Returns ``state`` cut off from the graph that computed it, so that no gradient passes it."""
    return tuple(tuple(one.detach() for one in layer) for layer in state)


def _layer(cell: Cell, inputs: int, H: int) -> nn.RNNBase:
    """Returns a layer with new weights, drawn gate by gate: recurrent ones orthogonal (Saxe et al. 2014), input ones
    after Glorot & Bengio (2010), biases 0.

    Without the forget-gate bias of 1 that is often advised for LSTMs: with embeddings of unit variance it made cells
    three times as large, and the same training ended 0.06 nats higher.
    """
    layer: nn.RNNBase = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](inputs, H)
    input_weight, recurrent_weight, input_bias, recurrent_bias = layer.parameters()
    for gate in range(ROW_BLOCKS[cell]):
        rows = slice(gate * H, (gate + 1) * H)
        nn.init.xavier_uniform_(input_weight.data[rows])
        nn.init.orthogonal_(recurrent_weight.data[rows])
    nn.init.zeros_(input_bias)
    nn.init.zeros_(recurrent_bias)
    return layer


def _locked_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Drops features of ``x`` (T, B, F), the same ones at all characters of a sequence."""
    if not training or rate == 0.0:
        return x
    keep = x.new_empty(1, *x.shape[1:]).bernoulli_(1.0 - rate)
    return x * (keep / (1.0 - rate))
