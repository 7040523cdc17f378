"""The model file's description: everything that a model file says beside its graph.

One ``.onnx`` file is the whole hand-off from training to serving. Its graph is the one that
``nextchar_training.export.graph`` builds; its metadata holds, under one key, the description that is defined here. The
exporter writes it and the runner reads it; it needs neither torch nor onnx.

A ``ModelDescription`` is always complete and consistent: pydantic checks it, and a file whose description isn't so
raises ``ModelFileError``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nextchar_cli.wording import explain

from .alphabet import Alphabet, UnknownCharacterError
from .cell import Cell, Precision, has_cell

FORMAT_VERSION = 2
"""Version of the description and of the graph's inputs and outputs. A reader accepts its own version only."""

METADATA_KEY = "nextchar"

_CONFIG = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True)

Whole = Annotated[int, Strict()]
"""A whole number, and not a text that looks like one."""

Size = Annotated[int, Strict(), Field(ge=1, lt=2**63)]
"""A positive whole number, which the protocol can carry."""

Number = Annotated[float, Strict()]
"""A number, and not a text that looks like one. May be infinite."""


class ModelFileError(ValueError):
    """A file isn't a model file that this version can run. The message names the file and what is wrong with it."""


@dataclass(frozen=True, config=_CONFIG)
class TrainingSummary:
    """How a model was trained."""

    corpus: str
    """Names of the corpus's parts."""
    corpus_characters: Whole
    command: str
    steps: Whole
    seconds: Number
    seed: Whole
    validation_loss: Number
    """Loss on the validation text before export, state carried along, in nats per character."""
    corpus_sha256: str = ""
    """SHA-256 of the corpus's text. Empty in files written before it was kept."""
    rules: dict[str, Any] = field(default_factory=dict)
    """How the corpus became a dataset: those fields of the training's ``Rules`` that differ from their defaults."""


@dataclass(frozen=True, config=_CONFIG)
class ExportChecks:
    """The exporter's measurements before it wrote the file."""

    logit_difference: Number
    """Largest difference between the log-probabilities of the fp32 graph and of PyTorch, in nats."""
    loss: Number
    """Loss of the file's own graph on the checked text, state carried along, in nats per character."""
    loss_increase: Number
    """That loss minus the fp32 graph's: the cost of the precision. 0 for fp32."""
    characters: Whole
    """Characters of the checked text."""


@dataclass(frozen=True, config=_CONFIG)
class ReplaySample:
    """A text to read, and the ids that the exporting machine then generated: other machines compare theirs with it."""

    text: str
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**64)]
    ids: tuple[Whole, ...]
    """Ids generated after ``text`` at temperature 1."""
    logprobs: tuple[Number, ...]
    """Log-probabilities in nats: of each id of ``text``, then of each of ``ids``."""


@dataclass(frozen=True, config=_CONFIG)
class ModelDescription:
    """Everything that a model file says beside its graph. Raises ``pydantic.ValidationError`` if it is inconsistent."""

    alphabet: Alphabet
    cell: Cell
    layers: Size
    hidden_size: Size
    embedding_size: Size
    precision: Precision
    parameters: Size
    """Trainable parameters of the network."""
    training: TrainingSummary
    checks: ExportChecks
    replay_sample: Annotated[ReplaySample, Field(alias="test_vector")]

    def __post_init__(self) -> None:
        sample = self.replay_sample
        try:
            read = len(self.alphabet.encode(sample.text))
        except UnknownCharacterError as error:
            raise ValueError(f"the replay sample can't be read: {error}") from error
        if len(sample.logprobs) != read + len(sample.ids):
            raise ValueError(
                f"the replay sample has {len(sample.logprobs)} log-probabilities for {read + len(sample.ids)} ids"
            )

    @property
    def cell_layers(self) -> int:
        """Number of layers that carry a ``cell`` beside their hidden state: all or none."""
        return self.layers if has_cell(self.cell, self.precision) else 0

    @property
    def state_bytes(self) -> int:
        """Size of the recurrent state of one row: hidden states, in the model's precision, and float cells."""
        return self.hidden_size * (self.layers * (1 if self.precision == "int8" else 4) + self.cell_layers * 4)

    def to_metadata(self) -> dict[str, str]:
        """Returns the metadata of the model file."""
        document = {"format_version": FORMAT_VERSION, **_JSON.dump_python(self, by_alias=True)}
        return {METADATA_KEY: json.dumps(document, ensure_ascii=False, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> ModelDescription:
        """Reads the metadata of the model file at ``path``, which only the error messages use.

        Raises ``ModelFileError`` if the file isn't nextchar's, has another format version, or has a field too many,
        too few or invalid.
        """
        if METADATA_KEY not in metadata:
            raise ModelFileError(
                f"{path}: an ONNX file, but not a nextchar model: its metadata has no entry {METADATA_KEY!r}"
            )
        try:
            document = json.loads(metadata[METADATA_KEY])
            version = document.pop("format_version")
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise ModelFileError(f"{path}: the model's description is damaged") from error
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path}: model file format {version!r}; this version of nextchar reads format {FORMAT_VERSION}: "
                "export the checkpoint again"
            )
        try:
            return _JSON.validate_python(document)
        except ValidationError as error:
            name, problem = explain(error)
            subject = f"{name}: " if name else ""
            raise ModelFileError(f"{path}: the model's description is invalid: {subject}{problem}") from error


_JSON = TypeAdapter(ModelDescription)
"""The description's form on disk."""
