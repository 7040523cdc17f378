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
from math import isfinite, isnan
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import one_line, printable
from nextchar_cli.wording import explain, quoted

from .alphabet import Alphabet, UnknownCharacterError
from .cell import Cell, Precision, has_cell

FORMAT_VERSION = 4
"""Version of the description, and of the graph's inputs and outputs, in a sealed file (see ``seal``)."""

EARLIER_VERSION = 3
"""Version of the sealed files from before graphs could complete a constrained text. They are read too."""

UNSEALED_VERSION = 2
"""Version of the files from before there was a seal. They are read too."""

METADATA_KEY = "nextchar"

MAX_METADATA_BYTES = 4 * 2**20
"""Longest description: four times that of an alphabet of every character of Unicode."""

MAX_REPLAYED = 4096
"""Most characters that a replay sample reads, and most ids that it generates."""

_LONGEST_NAME = 100  # characters of a field's name in a message

_CONFIG = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True)


def _utf8(text: str) -> str:
    """Returns ``text``. Raises ``ValueError`` if no message can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} of the text is half of a surrogate pair") from error
    return text


def _plain(rules: dict[str, Any]) -> dict[str, Any]:
    for name, value in rules.items():
        if isinstance(value, str):
            _utf8(value)
        elif not (value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value))):
            raise ValueError(f"{quoted(_utf8(name))} is not a text, a finite number, true, false or null")
    return rules


def _not_nan(value: float) -> float:
    if isnan(value):
        raise ValueError("nan is not a number")
    return value


Text = Annotated[str, Strict(), AfterValidator(_utf8)]
"""A text that UTF-8 can encode."""

Count = Annotated[int, Strict(), Field(ge=0, lt=2**63)]
"""A whole number that counts something."""

Size = Annotated[int, Strict(), Field(ge=1, lt=2**31)]
"""A positive whole number, which the protocol can carry."""

Seed = Annotated[int, Strict(), Field(ge=0, lt=2**64)]

Finite = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""A finite number, and not a text that looks like one."""

Loss = Annotated[float, Strict(), AfterValidator(_not_nan)]
"""A number, and not a text that looks like one. May be infinite."""


class ModelFileError(ValueError):
    """A file isn't a model file that this version can run. The message names the file and what is wrong with it."""


@dataclass(frozen=True, config=_CONFIG)
class TrainingSummary:
    """How a model was trained."""

    corpus: Text
    """Names of the corpus's parts."""
    corpus_characters: Count
    command: Text
    steps: Count
    seconds: Finite
    seed: Seed
    validation_loss: Loss
    """Loss on the validation text before export, state carried along, in nats per character."""
    corpus_sha256: Text = ""
    """SHA-256 of the corpus's text. Empty in files written before it was kept."""
    rules: Annotated[dict[Text, Any], AfterValidator(_plain)] = field(default_factory=dict)
    """How the corpus became a dataset: those fields of the training's ``Rules`` that differ from their defaults."""


@dataclass(frozen=True, config=_CONFIG)
class ExportChecks:
    """The exporter's measurements before it wrote the file."""

    logit_difference: Finite
    """Largest difference between the log-probabilities of the fp32 graph and of PyTorch, in nats."""
    loss: Finite
    """Loss of the file's own graph on the checked text, state carried along, in nats per character."""
    loss_increase: Finite
    """That loss minus the fp32 graph's: the cost of the precision. 0 for fp32."""
    characters: Count
    """Characters of the checked text."""


@dataclass(frozen=True, config=_CONFIG)
class ReplaySample:
    """A text to read, and the ids that the exporting machine then generated: other machines compare theirs with it."""

    text: Annotated[Text, Field(min_length=1, max_length=MAX_REPLAYED)]
    seed: Seed
    ids: Annotated[tuple[Count, ...], Field(min_length=1, max_length=MAX_REPLAYED)]
    """Ids generated after ``text`` at temperature 1."""
    logprobs: tuple[Finite, ...]
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
    parameters: Annotated[int, Strict(), Field(ge=1, lt=2**63)]
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
        if max(sample.ids) >= self.alphabet.size:
            raise ValueError(f"the replay sample has an id {max(sample.ids)}; the last one is {self.alphabet.size - 1}")
        if self.state_bytes >= 2**32:
            raise ValueError(f"the state of a stream takes {self.state_bytes} bytes; it must be less than 4 GiB")

    @property
    def cell_layers(self) -> int:
        """Number of layers that carry a ``cell`` beside their hidden state: all or none."""
        return self.layers if has_cell(self.cell, self.precision) else 0

    @property
    def state_bytes(self) -> int:
        """Size of the recurrent state of one row: hidden states, in the model's precision, and float cells."""
        return self.hidden_size * (self.layers * (1 if self.precision == "int8" else 4) + self.cell_layers * 4)

    def to_metadata(self) -> dict[str, str]:
        """Returns the metadata of the model file, except its seal."""
        document = {"format_version": FORMAT_VERSION, **_JSON.dump_python(self, by_alias=True)}
        return {METADATA_KEY: json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))}

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, str], path: Path, *, version: int = FORMAT_VERSION
    ) -> ModelDescription:
        """Reads the metadata of the model file at ``path``, which only the error messages use.

        ``version`` is the format that the file must have; ``EARLIER_VERSION`` may stand for this one. Raises
        ``ModelFileError`` if the file isn't nextchar's, has another format version, or has a field too many, too few or
        invalid.
        """
        if METADATA_KEY not in metadata:
            raise ModelFileError(
                f"{path}: an ONNX file, but not a nextchar model: its metadata has no entry {METADATA_KEY!r}"
            )
        if len(metadata[METADATA_KEY]) > MAX_METADATA_BYTES:
            raise ModelFileError(
                f"{path}: the model's description is damaged: it is larger than {MAX_METADATA_BYTES} bytes"
            )
        try:
            document = json.loads(metadata[METADATA_KEY], object_pairs_hook=_without_repeats)
            given = document.pop("format_version")
            if given != version and (given, version) != (EARLIER_VERSION, FORMAT_VERSION):
                raise ModelFileError(f"{path}: {_another_version(given)}")
            return _JSON.validate_python(document)
        except ModelFileError:
            raise
        except ValidationError as error:
            raise ModelFileError(f"{path}: the model's description is invalid: {_problem(error)}") from error
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise ModelFileError(f"{path}: the model's description is damaged") from error


def _problem(error: ValidationError) -> str:
    try:
        name, problem = explain(error)
    except RecursionError:  # its value is lists in lists without end
        return "it is nested too deep"
    return f"{printable(name[:_LONGEST_NAME])}: {one_line(problem)}" if name else one_line(problem)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _another_version(given: object) -> str:
    if given in (UNSEALED_VERSION, EARLIER_VERSION, FORMAT_VERSION):
        return f"damaged or cut off: files of format {EARLIER_VERSION} and later, and no others, end with a digest"
    return (
        f"model file format {quoted(given)}; this version of nextchar reads formats {UNSEALED_VERSION} to "
        f"{FORMAT_VERSION}: export the checkpoint again"
    )


_JSON = TypeAdapter(ModelDescription)
"""The description's form on disk."""
