"""What calls give: plain frozen values, without protobuf in them.

They say the same as the messages of ``generation.proto``, under the same names. All offsets and counts
are in characters (NFC code points), all log-probabilities in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a text ended."""

    MAX_CHARACTERS = "max_characters"
    STOP_SEQUENCE = "stop_sequence"
    END_OF_DOCUMENT = "end_of_document"
    DRAINING = "draining"
    """The server is shutting down: the text was cut."""
    REGEX_COMPLETE = "regex_complete"
    UNKNOWN = "unknown"
    """A reason that a later server knows and this client does not."""


class Replay(StrEnum):
    """How a server's machine repeats the test vector of a model file."""

    EXACT = "exact"
    CLOSE = "close"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """Whether a server, or one service of it, takes calls."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class AlternativeCharacter:
    """A character that could have stood in a place; empty for the end of the document."""

    character: str
    logprob: float


@dataclass(frozen=True)
class CharacterLogprob:
    """A character and its log-probability given all before it.

    ``alternatives`` holds the likeliest characters in its place, likeliest first.
    """

    character: str
    logprob: float
    alternatives: tuple[AlternativeCharacter, ...]


@dataclass(frozen=True)
class Usage:
    """Characters of the prompt that the model read, and characters that it generated."""

    prompt_characters: int
    generated_characters: int


@dataclass(frozen=True)
class Started:
    """The request was admitted. ``seed`` is the request's, or the one that the server drew."""

    request_id: str
    model: str
    model_digest: str
    seed: int


@dataclass(frozen=True)
class Delta:
    """More text. ``offset`` counts the characters before it; ``logprobs`` is empty unless asked for."""

    text: str
    offset: int
    logprobs: tuple[CharacterLogprob, ...]


@dataclass(frozen=True)
class Finished:
    """The text ended. ``stop_sequence`` is the one that ended it, or empty."""

    finish_reason: FinishReason
    stop_sequence: str
    usage: Usage


Event = Started | Delta | Finished
"""What a stream gives: one ``Started``, any number of ``Delta``, one ``Finished``."""


@dataclass(frozen=True)
class Generation:
    """A whole generated text: the events of a stream, put together."""

    started: Started
    text: str
    logprobs: tuple[CharacterLogprob, ...]
    finished: Finished


@dataclass(frozen=True)
class Score:
    """How likely a text is. ``bits_per_character`` is -total_logprob / ln 2 / number of characters."""

    request_id: str
    model: str
    model_digest: str
    characters: tuple[CharacterLogprob, ...]
    total_logprob: float
    bits_per_character: float


@dataclass(frozen=True)
class Model:
    """A model that the server holds; ``generation.proto`` describes each field."""

    name: str
    digest: str
    is_default: bool
    cell: str
    layers: int
    hidden_size: int
    parameters: int
    alphabet_kind: str
    alphabet: tuple[str, ...]
    precision: str
    provider: str
    numeric_class: str
    replay: Replay
    batch_dependent: bool
    validation_loss: float
    state_bytes: int
    max_characters: int
    max_prompt_characters: int
