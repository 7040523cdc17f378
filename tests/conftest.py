"""Tiny real models, one of each cell a session, exported in both precisions, for every test that needs one."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from nextchar_training.alphabet import Alphabet
from nextchar_training.cell import Cell
from nextchar_training.dataset import CACHE_DIR
from nextchar_training.export import export
from nextchar_training.model_file import TrainingSummary
from nextchar_training.network import Architecture, Network

# The same examples every time, and none that fails because the machine is busy.
settings.register_profile("nextchar", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nextchar")

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
    """Some text of the tiny model's alphabet."""
    return " ".join(random.Random(seed).choices(WORDS, k=words))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Datasets of texts that only tests have are not left to the user."""
    os.environ[CACHE_DIR] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks are slower with more threads, and with one a training is repeatable."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], TinyModel]:
    """The tiny model of each cell."""

    @cache
    def make(cell: Cell) -> TinyModel:
        torch.manual_seed(0)
        text = make_text(400)
        alphabet = Alphabet.of(text)
        network = Network(Architecture(alphabet.size, hidden_size=48, layers=2, embedding_size=16, cell=cell))
        with torch.no_grad():
            network.readout.weight.mul_(8)  # a distribution that is not flat, so that a wrong bit shows
            network.readout.bias[0] = -50.0  # no document ends by itself, but where all else is biased down
        folder = tmp_path_factory.mktemp("tiny")
        summary = TrainingSummary("random weights", len(text), "none", 0, 0.0, 0, 0.0)
        for precision in ("int8", "fp32"):
            export(network, alphabet, summary, folder / f"{precision}.onnx", precision=precision, text=text)
        return TinyModel(network, alphabet, text, folder / "int8.onnx", folder / "fp32.onnx")

    return make


@pytest.fixture(scope="session")
def tiny(tiny_of: Callable[[Cell], TinyModel]) -> TinyModel:
    return tiny_of("lstm")
