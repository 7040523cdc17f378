"""The checkpoint: a trained network in one file, with its alphabet and how it came to be.

The trainer's weights go in, and sampling, evaluation and export take them out. A checkpoint is written whole or not at
all. It holds tensors and plain values only, so reading one runs no code (``torch.load(weights_only=True)``).
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor

from nextchar_cli.wording import explain
from nextchar_model.alphabet import Alphabet, Spelling

from ..data.rules import Rules, stated, to_state
from ..files import write_whole
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from .ancestry import Start
from .folder import BEST, RunFolder, RunFolderError
from .teachers import Taught

THEN = " && "
"""Stands between the commands of a run that trained for longer, in the order in which they were given."""

_FORMAT = "nextchar checkpoint"
_VERSION = 2
_WANTED = "give a checkpoint (.pt) or a run folder"
_HEAD = 64  # bytes of a file that show what it is

T = TypeVar("T")


class CheckpointError(ValueError):
    """A file is not a checkpoint or snapshot, is damaged, or is of another version."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a network came to be.

    ``sources`` are the corpus as it was given, so that it can be read again, a name that isn't UTF-8 by its bytes;
    relative ones were found in ``folder``, None in files of earlier releases. ``rules`` turned it into a dataset, and
    ``corpus_sha256`` tells whether it is still the same text, ``files_sha256`` whether it is in the same files, if each
    is a document (None in files of earlier releases). Losses are in nats per character. ``training_loss`` is
    with dropout, the mean since the evaluation before; ``validation_loss`` is the one watched during training (see
    ``learning.progress.Progress``). ``stateful_loss`` and ``windows_loss`` are those of the part to evaluate on (see
    ``learning.evaluation``), or None until the training has ended, and if it was stopped. ``recipe`` is None in files
    of the release before. ``taught`` says who taught the network, if it had teachers, ``start`` from whose weights it
    started, if it did; earlier releases don't state that.
    """

    corpus: str
    sources: tuple[str | bytes, ...]
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
    recipe: Recipe | None = None
    folder: str | bytes | None = None
    taught: Taught | None = None
    start: Start | None = None
    files_sha256: str | None = None


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Checkpoint:
    """A trained network: its sizes, alphabet, weights by name, and how it came to be."""

    architecture: Architecture
    alphabet: Alphabet
    weights: dict[str, Tensor]
    record: TrainingRecord

    def __post_init__(self) -> None:
        if self.alphabet.size != self.architecture.alphabet_size:
            raise ValueError(
                f"the alphabet has {self.alphabet.size} ids, but the network {self.architecture.alphabet_size}"
            )

    def network(self) -> Network:
        """Returns the network in evaluation mode. Raises ``CheckpointError`` if the weights don't fit its sizes."""
        with torch.device("meta"):  # don't initialize weights only to overwrite them
            network = Network(self.architecture)
        try:
            network.load_state_dict(self.weights, assign=True)
        except RuntimeError as error:
            raise CheckpointError(f"the weights do not fit {self.architecture}") from error
        return network.eval()


def find_checkpoint(path: Path) -> Path:
    """Returns the checkpoint that ``path`` means: a run folder means its ``best.pt``, any other path means itself.

    Raises ``CheckpointError`` if the folder has none, or if ``path`` is named like a model file.
    """
    if path.is_dir():
        best = path / BEST
        if not best.exists():
            raise CheckpointError(f"{path}: this folder has no {BEST}; {_WANTED}")
        return best
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path}: not a checkpoint but a model file; {_WANTED}")
    return path


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint. If this raises ``OSError``, the file that was at ``path`` before is intact."""
    content = {
        "architecture": asdict(checkpoint.architecture),
        "alphabet": alphabet_content(checkpoint.alphabet),
        "weights": checkpoint.weights,
        "record": {**asdict(checkpoint.record), "rules": to_state(checkpoint.record.rules)},
    }
    save_tensors(path, content, form=_FORMAT, version=_VERSION, kind="checkpoint")


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises ``CheckpointError`` if the file isn't a valid checkpoint, ``OSError`` if it can't be opened.
    """
    content = load_tensors(path, form=_FORMAT, version=_VERSION, kind="checkpoint")
    if isinstance(record := content.get("record"), dict):
        complete_rules(record)
    checkpoint = validated(Checkpoint, content, path)
    try:
        checkpoint.network()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    return checkpoint


def read_held_out(checkpoint: Checkpoint, path: Path) -> list[Spelling]:
    """Returns the held-out documents beside ``checkpoint``, which was read from ``path``.

    Raises ``RunFolderError``, with the remedy, if there are none, or if they are another run's.
    """
    folder = RunFolder(path.parent, overwrite=True)
    if not folder.held_out.exists():
        raise RunFolderError(f"{path}: no held-out text ({folder.held_out.name}) beside it: name a text with --text")
    if path.name not in (folder.best.name, folder.last.name):
        run = load_checkpoint(folder.best)
        if _text_of(run) != _text_of(checkpoint):
            raise RunFolderError(f"{path}: the held-out text beside it is of another run: name a text with --text")
    return folder.read_held_out()


def _text_of(checkpoint: Checkpoint) -> tuple[object, ...]:
    record = checkpoint.record
    rules = record.rules
    text = record.corpus_sha256, record.files_sha256
    return checkpoint.alphabet, *text, rules.documents, rules.held_out, rules.development


def save_tensors(path: Path, content: Mapping[str, Any], *, form: str, version: int, kind: str) -> None:
    """Writes tensors and plain values, whole or not at all; ``kind`` names them in the error."""
    document = io.BytesIO()
    torch.save({"format": form, "version": version, **content}, document)
    write_whole(path, document.getbuffer(), kind=kind)


def load_tensors(path: Path, *, form: str, version: int, kind: str) -> dict[str, Any]:
    """Reads a file written by ``save_tensors``, and returns its content without its format and version.

    Raises ``CheckpointError`` if the file is damaged, of another format or of another version, ``OSError`` if it can't
    be opened.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(0)
        try:
            # torch.load checks no sums, and takes a file that isn't an archive for one of an older format.
            if damaged := zipfile.ZipFile(file).testzip():
                raise CheckpointError(f"{path}: damaged at {damaged}")
            file.seek(0)
            content: Any = torch.load(file, weights_only=True, map_location="cpu")
        except (zipfile.BadZipFile, RuntimeError, UnicodeDecodeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a {kind}{_actual_kind(head)}") from error
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != form:
        other = f" but a {found}" if str(found).startswith("nextchar ") else ", but a file of another program"
        raise CheckpointError(f"{path}: not a {form}{other}")
    found = content.pop("version", None)
    if found != version:
        raise CheckpointError(f"{path}: {kind} version {found}; this release reads {version}")
    return dict(content)


def alphabet_content(alphabet: Alphabet) -> dict[str, Any]:
    """Returns an alphabet as plain values."""
    return {"kind": alphabet.kind, "symbols": list(alphabet.symbols)}


def complete_rules(content: dict[str, Any]) -> None:
    """Completes the rules in ``content``, which an earlier release may have written, by those that it didn't know."""
    if isinstance(rules := content.get("rules"), dict):
        content["rules"] = stated(rules)


def validated(cls: type[T], content: Mapping[str, Any], path: Path) -> T:
    """Returns ``content`` as a pydantic dataclass. Raises ``CheckpointError``, which names ``path`` and the field."""
    try:
        return TypeAdapter(cls).validate_python(content)
    except ValidationError as error:
        field, reason = explain(error)
        raise CheckpointError(
            f"{path}: damaged: {field}: {reason}" if field else f"{path}: damaged: {reason}"
        ) from error


def _actual_kind(head: bytes) -> str:
    """Continues "not a checkpoint" with the kind of file that the first bytes show."""
    if head.startswith(b"\x08") and b"nextchar" in head:  # the version and the producer of an ONNX file
        return f" but a model file; {_WANTED}"
    if not head:
        return ": the file is empty"
    if not head.startswith(b"PK") and all(byte >= 0x20 or byte in b"\t\n\r" for byte in head):
        return " but a text"
    return ", or cut off"
