"""The checkpoint: everything about a trained network in one file, which only training and export read.

The trainer's weights go in, the exporter's weights come out. A checkpoint is written whole or not at
all: what stood under its name before stays until the new one is safely on the disk. It holds tensors
and plain values only, and reading one runs no code (``torch.load(weights_only=True)``).
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nextchar_model.alphabet import Alphabet

from ..data.rules import Rules
from ..learning.network import Network
from ..learning.recipe import Architecture

_FORMAT = "nextchar checkpoint"
_VERSION = 2


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or is of another version."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a network came to be.

    ``sources`` are the corpus as it was given, to read it again, and ``rules`` how it became a dataset;
    ``corpus_sha256`` tells whether it is still the same text. The losses are in nats a character. ``training_loss`` is
    with dropout, the mean since the evaluation before; ``validation_loss`` is the one watched during training (see
    ``trainer.Progress``). ``stateful_loss`` and ``windows_loss`` are of the held-out text (see ``evaluation``);
    ``None`` if the training has not ended, or was stopped.
    """

    corpus: str
    sources: tuple[str, ...]
    corpus_sha256: str
    rules: Rules
    characters: int
    command: str
    seed: int
    step: int
    epoch: float
    seconds: float
    training_loss: float
    validation_loss: float
    stateful_loss: float | None = None
    windows_loss: float | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A trained network: its sizes, alphabet, weights by name, and how it came to be."""

    architecture: Architecture
    alphabet: Alphabet
    weights: dict[str, Tensor]
    record: TrainingRecord

    def __post_init__(self) -> None:
        if self.alphabet.size != self.architecture.alphabet_size:
            raise CheckpointError(
                f"the alphabet has {self.alphabet.size} ids, the network {self.architecture.alphabet_size}"
            )

    def network(self) -> Network:
        """The network, ready to predict. Raises ``CheckpointError`` where the weights are not its own."""
        with torch.device("meta"):  # nothing is initialized only to be overwritten
            network = Network(self.architecture)
        try:
            network.load_state_dict(self.weights, assign=True)
        except RuntimeError as error:
            raise CheckpointError(f"the weights do not fit {self.architecture}") from error
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint. Where this raises ``OSError``, what was at ``path`` before is intact."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "architecture": asdict(checkpoint.architecture),
        "alphabet": {"kind": checkpoint.alphabet.kind, "symbols": list(checkpoint.alphabet.symbols)},
        "weights": checkpoint.weights,
        "record": asdict(checkpoint.record),
    }
    write_whole(document, path, "checkpoint")


def write_whole(document: dict[str, Any], path: Path, what: str) -> None:
    """Writes tensors and plain values, whole or not at all; ``what`` they are is for the error's message."""
    content = io.BytesIO()
    torch.save(document, content)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, f"the {what} was not written: {error.strerror}", str(path)) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint. Raises ``CheckpointError`` for what is none, ``OSError`` where there is no file."""
    content = read_whole(path, _FORMAT, _VERSION, "checkpoint")
    try:
        alphabet = content["alphabet"]
        checkpoint = Checkpoint(
            Architecture(**content["architecture"]),
            Alphabet(tuple(alphabet["symbols"]), alphabet["kind"]),
            content["weights"],
            TrainingRecord(
                **{
                    **content["record"],
                    "sources": tuple(content["record"]["sources"]),
                    "rules": Rules(**content["record"]["rules"]),
                }
            ),
        )
        checkpoint.network()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    return checkpoint


def read_whole(path: Path, form: str, version: int, what: str) -> dict[str, Any]:
    """What ``write_whole`` wrote, its ``format`` and ``version`` checked. Raises as ``load_checkpoint`` does."""
    with path.open("rb") as file:
        try:
            # torch.load checks no sums, and takes what is no archive for an older format.
            if damaged := zipfile.ZipFile(file).testzip():
                raise CheckpointError(f"{path}: damaged at {damaged}")
            file.seek(0)
            content: Any = torch.load(file, weights_only=True, map_location="cpu")
        except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a {what}, or cut off") from error
    if not isinstance(content, dict) or content.get("format") != form:
        raise CheckpointError(f"{path}: not a {form}")
    if content.get("version") != version:
        raise CheckpointError(f"{path}: {what} version {content.get('version')}; this release reads {version}")
    return content
