"""The memory that a training takes, told before it starts.

Shapes: B sequences, T characters, V ids in the alphabet, E embedding size, H hidden size, L layers.
"""

from __future__ import annotations

from nextchar_model.cell import ROW_BLOCKS

from .recipe import Architecture, Recipe

_BASE = 450e6  # bytes of Python and torch
_OF_WEIGHT = 32  # bytes: the weight, its gradient and two moments in float32, and their copies in a snapshot
_OF_LOGIT = 18  # bytes: in float32 and bfloat16, as log-probabilities, and the gradients of these
_OF_TAUGHT_LOGIT = 20  # bytes more with teachers: theirs, and the tempered ones, as log-probabilities, and gradients
_OF_OUTPUT = 8  # bytes: in float32 and bfloat16, of everything that a layer keeps for its gradient


def parameters(architecture: Architecture) -> int:
    """Returns the number of weights of a network."""
    V, E, H = architecture.alphabet_size, architecture.embedding_size, architecture.hidden_size
    rows = ROW_BLOCKS[architecture.cell] * H
    inputs = E + (architecture.layers - 1) * H
    return V * E + rows * (inputs + architecture.layers * (H + 2)) + (H + 1) * V


def training_bytes(architecture: Architecture, recipe: Recipe, *, taught: bool = False) -> float:
    """Returns about how much memory a training takes in one process that reads whole batches, in bytes.

    ``taught`` says whether it has teachers.
    """
    ids = recipe.batch_size * recipe.sequence_length
    rows = ROW_BLOCKS[architecture.cell] * architecture.hidden_size
    kept = architecture.embedding_size + architecture.layers * (rows + 4 * architecture.hidden_size)
    logits = ids * architecture.alphabet_size * (_OF_LOGIT + (_OF_TAUGHT_LOGIT if taught else 0))
    return _BASE + parameters(architecture) * _OF_WEIGHT + ids * kept * _OF_OUTPUT + logits
