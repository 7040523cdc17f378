"""Trainings of a tiny network, in this process and without a run folder."""

from __future__ import annotations

import threading

import pytest
import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell
from nextchar_training.data.split import Split
from nextchar_training.learning.network import Network
from nextchar_training.learning.progress import Position
from nextchar_training.learning.recipe import Architecture, Recipe
from nextchar_training.learning.trainer import Trainer
from nextchar_training.learning.workers import Workers

B, T = 4, 8
PATTERN = "one fish, two fish.\n"
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])


def recipe(*, epochs: int | None = 1, minutes: float | None = None, T: int = T, seed: int = 1) -> Recipe:
    return Recipe(
        epochs=epochs, minutes=minutes, batch_size=B, sequence_length=T, learning_rate=1e-2, dropout=0.1, seed=seed
    )


def split(text: str) -> Split:
    """The first nine tenths of ``text`` for training, the last tenth held out."""
    alphabet = Alphabet.of(text)
    end = len(text) * 9 // 10
    line_end = int(alphabet.encode("\n")[0]) if "\n" in text else None
    return Split(alphabet.encode(text[:end]), [alphabet.spell(text[end:])], line_end)


class Training:
    """A tiny network that learns a text, and the progress that its trainer yields."""

    def __init__(
        self,
        text: str,
        recipe: Recipe,
        stop: threading.Event | None = None,
        position: Position | None = None,
        cell: Cell = "lstm",
    ) -> None:
        self.alphabet = Alphabet.of(text)
        torch.manual_seed(0)
        architecture = Architecture(alphabet_size=self.alphabet.size, hidden_size=16, embedding_size=8, cell=cell)
        self.network = Network(architecture, dropout=0.1)
        self.trainer = Trainer(self.network, split(text), recipe, position=position)
        self.progress = self.trainer.steps(stop or threading.Event())

    def weights(self) -> list[list[float]]:
        return [weight.flatten().tolist() for weight in self.network.parameters()]


class TwoWorkers(Workers):
    """One of two workers."""

    size = 2
