"""Models of any size to measure with.

First stage of every part. The weights are random, which costs what trained ones cost: a step does the same work
whatever the numbers are. What always holds: no document ends by itself, so that a stream has the length it asked for.
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
    """Layers × hidden size."""
    return f"{architecture.layers}×{architecture.hidden_size}"


@cache
def alphabet_of(size: int) -> Alphabet:
    """An alphabet of ``size`` ids: Tiny Shakespeare's characters, then Hangul syllables, then ideographs."""
    others = [*map(chr, range(0xAC00, 0xD7A4)), *map(chr, range(0x4E00, 0x9FFF))]
    return Alphabet(tuple(sorted([*SHAKESPEARE, *others][: size - 1])))


@cache
def network_of(architecture: Architecture) -> Network:
    """A network whose distributions are about as sharp as a trained one's."""
    torch.manual_seed(0)
    network = Network(architecture)
    with torch.no_grad():
        network.readout.weight.mul_(6)
        network.readout.bias[0] = -100.0
    return network.eval()


@cache
def model_file(folder: Path, architecture: Architecture, precision: Precision = "int8") -> Path:
    """The network of ``architecture`` as a model file in ``folder``, checked by the exporter as every one is."""
    alphabet = alphabet_of(architecture.alphabet_size)
    text = "".join(np.random.default_rng(0).choice(alphabet.symbols, MIN_CHARACTERS))
    path = folder / f"{name_of(architecture)}-{architecture.alphabet_size}-{precision}.onnx"
    summary = TrainingSummary("random weights", len(text), "benchmarks", 0, 0.0, 0, 0.0)
    export(network_of(architecture), alphabet, summary, path, precision=precision, text=text)
    return path


@cache
def checkpoint_file(folder: Path, architecture: Architecture) -> Path:
    """The same network as a checkpoint in ``folder``."""
    path = folder / f"{name_of(architecture)}-{architecture.alphabet_size}.pt"
    record = TrainingRecord("random weights", (), "", Rules(), 0, "benchmarks", 0, 0, 0.0, 0.0, 0.0, 0.0)
    weights = network_of(architecture).state_dict()
    save_checkpoint(Checkpoint(architecture, alphabet_of(architecture.alphabet_size), weights, record), path)
    return path
