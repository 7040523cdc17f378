"""Models of any size to measure.

First stage of every part. The weights are random, which costs as much as trained ones: a step does the same work
whatever the numbers are. No document ends by itself, so every stream has the length that was asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Precision
from nextchar_model.description import TrainingSummary
from nextchar_training.data.rules import Rules
from nextchar_training.export.exporter import MIN_CHARACTERS, export
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from nextchar_training.run.checkpoint import Checkpoint, TrainingRecord, save_checkpoint

SHAKESPEARE = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The 65 characters of Tiny Shakespeare."""

SMALL = Architecture(alphabet_size=66, hidden_size=128)
WIDE = Architecture(alphabet_size=66, hidden_size=512)
DEEP = Architecture(alphabet_size=66, hidden_size=512, layers=2)


def name_of(architecture: Architecture) -> str:
    """Returns a model's name in the results: layers × hidden size."""
    return f"{architecture.layers}×{architecture.hidden_size}"


@cache
def alphabet_of(size: int) -> Alphabet:
    """Returns an alphabet of ``size`` ids: Tiny Shakespeare's characters, then Hangul syllables, then ideographs."""
    others = [*map(chr, range(0xAC00, 0xD7A4)), *map(chr, range(0x4E00, 0x9FFF))]
    return Alphabet(tuple(sorted([*SHAKESPEARE, *others][: size - 1])))


@cache
def network_of(architecture: Architecture) -> Network:
    """Returns a network whose distributions are about as sharp as a trained one's."""
    torch.manual_seed(0)
    network = Network(architecture)
    with torch.no_grad():
        network.readout.weight.mul_(6)
        network.readout.bias[0] = -100.0
    return network.eval()


@cache
def model_file(folder: Path, architecture: Architecture, precision: Precision = "int8") -> Path:
    """Exports the network of ``architecture`` to a model file in ``folder``."""
    alphabet = alphabet_of(architecture.alphabet_size)
    text = "".join(np.random.default_rng(0).choice(alphabet.symbols, MIN_CHARACTERS))
    path = folder / f"{name_of(architecture)}-{architecture.alphabet_size}-{precision}.onnx"
    summary = TrainingSummary("random weights", len(text), "benchmarks", 0, 0.0, 0, 0.0)
    export(network_of(architecture), alphabet, summary, path, precision=precision, text=text)
    return path


@cache
def checkpoint_file(folder: Path, architecture: Architecture) -> Path:
    """Writes the same network to a checkpoint in ``folder``."""
    path = folder / f"{name_of(architecture)}-{architecture.alphabet_size}.pt"
    record = TrainingRecord("random weights", (), "", Rules(), 0, "benchmarks", 0, 0, 0.0, 0.0, 0.0, 0.0)
    weights = network_of(architecture).state_dict()
    save_checkpoint(Checkpoint(architecture, alphabet_of(architecture.alphabet_size), weights, record), path)
    return path


@cache
def korean_file(folder: Path) -> Path:
    """Exports a small network whose alphabet is jamo to a model file in ``folder``."""
    text = "값 없는 물건, 밟고 읽는 책들. 서울특별시 강남구 테헤란로 12동 503호\n" * (MIN_CHARACTERS // 20)
    alphabet = Alphabet.of(text, "jamo")
    path = folder / "korean.onnx"
    summary = TrainingSummary("random weights", len(text), "benchmarks", 0, 0.0, 0, 0.0)
    network = network_of(Architecture(alphabet_size=alphabet.size, hidden_size=128))
    export(network, alphabet, summary, path, precision="int8", text=text)
    return path
