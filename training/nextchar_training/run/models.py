"""Models: run folders, checkpoints and model files, told apart by their content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextchar_model.alphabet import Alphabet
from nextchar_model.description import ModelFileError
from nextchar_model.runner import Runner

from ..data.rules import Rules, stated
from ..learning.evaluation import NetworkScorer, Scorer
from .checkpoint import Checkpoint, find_checkpoint, load_checkpoint

_ARCHIVE, _ONNX = b"PK", b"\x08"  # the first bytes of a checkpoint, a zip archive, and of a model file


def load_model(path: Path) -> Checkpoint | Runner:
    """Loads a checkpoint, the best one of a run folder, or a model file.

    Raises ``CheckpointError`` or ``ModelFileError`` if it is damaged or something else, ``OSError`` if it can't be
    read.
    """
    if path.is_dir():
        return load_checkpoint(find_checkpoint(path))
    with path.open("rb") as file:
        head = file.read(len(_ARCHIVE))
    is_model_file = head.startswith(_ONNX) or (path.suffix == ".onnx" and not head.startswith(_ARCHIVE))
    return Runner(path) if is_model_file else load_checkpoint(path)


def scorer_of(model: Checkpoint | Runner) -> Scorer[Any]:
    """Returns ``model`` as something that can be evaluated."""
    return NetworkScorer(model.network()) if isinstance(model, Checkpoint) else model


@dataclass(frozen=True)
class Origin:
    """The text that a model was trained on."""

    alphabet: Alphabet
    rules: Rules
    sha256: str


def origin_of(model: Checkpoint | Runner, path: Path) -> Origin:
    """Returns the text that ``model`` was trained on. Raises ``ModelFileError`` if its rules are unknown."""
    if isinstance(model, Checkpoint):
        return Origin(model.alphabet, model.record.rules, model.record.corpus_sha256)
    training = model.description.training
    try:
        return Origin(model.description.alphabet, Rules(**stated(training.rules)), training.corpus_sha256)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: this version doesn't know its rules: {error}") from error
