"""The model file's description: all that a model file says beside its graph.

One ``.onnx`` file is the whole hand-off from training to serving. Its graph is ``graph.advance``; its
metadata holds, under one key, the description that is defined here. The exporter writes it, the runner reads
it; free of torch and of onnx.

What always holds: a ``ModelDescription`` is whole and consistent. A file that is not is a ``ModelFileError``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .alphabet import Alphabet, AlphabetError, UnknownCharacterError
from .cell import ROW_BLOCKS, Cell, Precision, has_cell

FORMAT_VERSION = 2
"""Version of the description and of the graph's inputs and outputs. A reader takes its own version only."""

METADATA_KEY = "nextchar"

_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}  # of fields, in JSON


class ModelFileError(ValueError):
    """A file is no model file that this version can run. The message names the file and what is wrong."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a model was trained."""

    corpus: str
    """Names of the corpus's parts."""
    corpus_characters: int
    command: str
    steps: int
    seconds: float
    seed: int
    validation_loss: float
    """Nats a character on the validation text, state carried along, before export."""
    corpus_sha256: str = ""
    """SHA-256 of the corpus's text; empty in files of before it was kept."""
    rules: dict[str, Any] = field(default_factory=dict)
    """How the corpus became a dataset: the fields of ``dataset.Rules`` that are not the usual ones."""


@dataclass(frozen=True)
class ExportChecks:
    """What the exporter measured before it wrote the file."""

    logit_difference: float
    """Largest difference between a log-probability of the fp32 graph and PyTorch's, in nats."""
    loss: float
    """Loss of the file's own graph on the checked text, in nats a character, state carried along."""
    loss_increase: float
    """That loss less the fp32 graph's: what the precision costs. 0 for fp32."""
    characters: int
    """Characters of the checked text."""


@dataclass(frozen=True)
class ReplaySample:
    """A text to read and what the exporting machine then generated, by which another machine knows itself."""

    __test__ = False  # for pytest: this is no test

    text: str
    seed: int
    ids: tuple[int, ...]
    """Ids generated after ``text`` at temperature 1."""
    logprobs: tuple[float, ...]
    """Log-probabilities in nats: of each id of ``text``, then of each of ``ids``."""


@dataclass(frozen=True)
class ModelDescription:
    """All that a model file says beside its graph."""

    alphabet: Alphabet
    cell: Cell
    layers: int
    hidden_size: int
    embedding_size: int
    precision: Precision
    parameters: int
    """Trainable parameters of the network."""
    training: TrainingSummary
    checks: ExportChecks
    test_vector: ReplaySample

    @property
    def cell_layers(self) -> int:
        """Layers that carry a ``cell`` beside their hidden state: all, or none."""
        return self.layers if has_cell(self.cell, self.precision) else 0

    @property
    def state_bytes(self) -> int:
        """Size of the recurrent state of one row: hidden states, quantized with int8, and float cells."""
        return self.hidden_size * (self.layers * (1 if self.precision == "int8" else 4) + self.cell_layers * 4)

    def to_metadata(self) -> dict[str, str]:
        """The metadata of the model file."""
        document = {"format_version": FORMAT_VERSION, **asdict(self)}
        return {METADATA_KEY: json.dumps(document, ensure_ascii=False, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> ModelDescription:
        """Reads the metadata of the model file at ``path``, which only the error messages use."""
        if METADATA_KEY not in metadata:
            raise ModelFileError(
                f"{path}: an ONNX file, but not a nextchar model: its metadata has no entry {METADATA_KEY!r}"
            )
        try:
            document = json.loads(metadata[METADATA_KEY])
            version = document.pop("format_version")
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise ModelFileError(f"{path}: the metadata of the model is damaged") from error
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{path}: model file format {version!r}; this version of nextchar reads format {FORMAT_VERSION}: "
                "export the checkpoint again"
            )
        try:
            alphabet = document.pop("alphabet")
            description = cls(
                alphabet=Alphabet(tuple(alphabet["symbols"]), alphabet["kind"]),
                training=TrainingSummary(**document.pop("training")),
                checks=ExportChecks(**document.pop("checks")),
                test_vector=_test_vector(**document.pop("test_vector")),
                **document,
            )
            description.check()
        except KeyError as error:
            raise ModelFileError(f"{path}: the description of the model lacks {error}") from error
        except (AlphabetError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: the description of the model is not valid: {error}") from error
        return description

    def check(self) -> None:
        """Raises ``ValueError`` where a field's type or value can't be."""
        for part in (self, self.training, self.checks, self.test_vector):
            for each in fields(part):
                value = getattr(part, each.name)
                if not isinstance(value, _TYPES.get(str(each.type), object)):
                    raise ValueError(f"{each.name} is {value!r}, which is no {each.type}")
        for name in ("layers", "hidden_size", "embedding_size", "parameters"):
            if (size := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {size}, not a positive number")
        if self.cell not in ROW_BLOCKS:
            raise ValueError(f"cell {self.cell!r} is not known; this version knows {', '.join(ROW_BLOCKS)}")
        if self.precision not in ("int8", "fp32"):
            raise ValueError(f"precision {self.precision!r} is neither 'int8' nor 'fp32'")
        vector = self.test_vector
        try:
            read = len(self.alphabet.encode(vector.text))
        except UnknownCharacterError:
            return  # the replay says so
        if len(vector.logprobs) != read + len(vector.ids):
            raise ValueError(f"the test vector has {len(vector.logprobs)} log-probabilities, not one an id")


def _test_vector(text: str, seed: int, ids: list[int], logprobs: list[float]) -> ReplaySample:
    return ReplaySample(text, seed, tuple(ids), tuple(logprobs))
