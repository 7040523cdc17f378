"""Samples: texts that a network writes, during its training and at the end."""

from __future__ import annotations

from nextchar_model.alphabet import Alphabet

from ..data.dataset import Dataset
from ..data.rules import Rules
from ..learning.network import Network
from ..learning.sampling import sample, sample_documents
from .checkpoint import Checkpoint

_DOCUMENTS = 20  # of a corpus of lines, where one says little
_LONGEST_LINE = 80  # characters of such a document
_PREVIEW, _FULL = 240, 500  # characters
_TEMPERATURES = (0.5, 0.8, 1.0)
_SEED = 1


def written_sample(network: Network, dataset: Dataset) -> str:
    """Returns a short text that ``network`` writes in the middle of its training, always from the same random numbers.

    If a document is a line, that is twenty lines.
    """
    text = _written(network, dataset.alphabet, dataset.rules, _PREVIEW, 0.8)
    network.train()
    return text


def written_samples(checkpoint: Checkpoint, rules: Rules) -> str:
    """Returns texts at three temperatures, each below a heading. If a document is a line, each is twenty lines."""
    network = checkpoint.network()
    return "\n".join(
        f"{_heading(rules, temperature)}\n{_written(network, checkpoint.alphabet, rules, _FULL, temperature)}\n"
        for temperature in _TEMPERATURES
    )


def _heading(rules: Rules, temperature: float) -> str:
    seeds = f"seeds {_SEED} to {_SEED + _DOCUMENTS - 1}" if rules.documents == "line" else f"seed {_SEED}"
    return f"--- temperature {temperature}, {seeds} ---"


def _written(network: Network, alphabet: Alphabet, rules: Rules, characters: int, temperature: float) -> str:
    if rules.documents == "line":
        return "\n".join(
            sample_documents(
                network,
                alphabet,
                count=_DOCUMENTS,
                max_characters=_LONGEST_LINE,
                seed=_SEED,
                temperature=temperature,
            )
        )
    return "".join(sample(network, alphabet, "", characters=characters, seed=_SEED, temperature=temperature))
