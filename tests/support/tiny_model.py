"""A tiny real model for the tests that need one: random weights, exported in both precisions."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_model.description import TrainingSummary
from nextchar_training.export.exporter import export
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

WORDS = (
    "Romeo",
    "Juliet",
    "night",
    "light",
    "love",
    "stars",
    "moon",
    "sun;",
    "what?",
    "who!",
    "yes,",
    "no.",
    "the",
    "a\n",
)


@dataclass(frozen=True)
class TinyModel:
    """A network of random weights, and the files that it was exported to."""

    network: Network
    alphabet: Alphabet
    text: str
    int8: Path
    fp32: Path


def make_text(words: int, seed: int = 0) -> str:
    """Returns random text of the tiny model's alphabet."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def make_tiny_model(cell: Cell, folder: Path) -> TinyModel:
    """Exports the tiny model of ``cell`` into ``folder``."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = make_text(400)
    alphabet = Alphabet.of(text)
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=48, layers=2, embedding_size=16, cell=cell))
    with torch.no_grad():
        network.readout.weight.mul_(8)  # sharper distributions, in which a wrong bit shows
        network.readout.bias[0] = -50.0  # no document ends unless a test biases every other id down
    summary = TrainingSummary("random weights", len(text), "none", 0, 0.0, 0, 0.0, rules={"documents": "file"})
    for precision in ("int8", "fp32"):
        export(network, alphabet, summary, folder / f"{precision}.onnx", precision=precision, text=text)
    return TinyModel(network, alphabet, text, folder / "int8.onnx", folder / "fp32.onnx")
