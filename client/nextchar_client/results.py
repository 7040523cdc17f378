"""The values that calls return, frozen and plain, without protobuf in them.

They have the names and meaning of the messages of ``generation.proto``. All offsets and counts are in characters (NFC
code points), all log-probabilities in nats.
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
    """The server is shutting down and cut the text."""
    REGEX_COMPLETE = "regex_complete"
    UNKNOWN = "unknown"
    """A reason of a newer server that this client doesn't know."""


class Replay(StrEnum):
    """How exactly the server's machine reproduces the replay sample of a model file."""

    EXACT = "exact"
    CLOSE = "close"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """Whether a server, or one of its services, takes calls."""

    SERVING = "serving"
    NOT_SERVING = "not_serving"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class AlternativeCharacter:
    """A character that the model could have put in a place; empty for the end of the document."""

    character: str
    logprob: float


@dataclass(frozen=True)
class CharacterLogprob:
    """A character and its log-probability given all characters before it.

    ``alternatives`` holds the most likely characters in its place, in order of probability.
    """

    character: str
    logprob: float
    alternatives: tuple[AlternativeCharacter, ...]


@dataclass(frozen=True)
class Usage:
    """How many characters of the prompt the model read, and how many it generated."""

    prompt_characters: int
    generated_characters: int


@dataclass(frozen=True)
class Started:
    """The server admitted the request. ``seed`` is the request's, or the one that the server drew."""

    request_id: str
    model: str
    model_digest: str
    seed: int


@dataclass(frozen=True)
class Delta:
    """More text. ``offset`` is the number of characters before it; ``logprobs`` is empty unless requested."""

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
"""An event of a stream: one ``Started``, any number of ``Delta``, one ``Finished``."""


@dataclass(frozen=True)
class Generation:
    """A whole generated text: the events of a stream in one value."""

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
