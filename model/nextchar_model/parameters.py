"""Parameters of a generated text, as the protocol's ``GenerationParameters`` have them.

Read by ``generator``, which generates texts without a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

DEFAULT_MAX_CHARACTERS = 256
"""Most characters of a text whose request doesn't say it."""


class ParameterError(ValueError):
    """A parameter has a value with which no text can be generated. ``field`` is its name."""

    def __init__(self, field: str, description: str) -> None:
        self.field = field
        super().__init__(f"{field}: {description}")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How to generate a text: names, meanings and defaults are those of ``GenerationParameters`` in the protocol."""

    max_characters: int = DEFAULT_MAX_CHARACTERS
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop_sequences: tuple[str, ...] = ()
    include_stop_sequence: bool = False
    character_bias: Mapping[str, float] = field(default_factory=dict)
    regex: str | None = None
    json_schema: str | None = None
    choices: tuple[str, ...] = ()
    min_characters: int = 0
    ignore_end_of_document: bool | None = None
    allow_malformed: bool = False


class Request(NamedTuple):
    """A text to generate."""

    prompt: str
    """Text that the model reads first; empty for the start of a document."""
    seed: int
    """Of the random numbers, 0 to 2**64 - 1."""
    parameters: Parameters
    """How to generate it. Requests that share one object cost less."""


class Text(NamedTuple):
    """A generated text."""

    number: int
    """Number of its request, counted from 0, or of the sample."""
    seed: int
    """Seed of its random numbers: with it, a server generates the same text."""
    text: str
    """The text, without the prompt."""
    finish_reason: str
    """``max_characters``, ``stop_sequence``, ``end_of_document`` or ``regex_complete``."""
    stop_sequence: str
    """The stop sequence that ended it, or empty."""
    generated_characters: int
    """Number of characters that the model generated, a stop sequence included, whether or not it is in the text."""
