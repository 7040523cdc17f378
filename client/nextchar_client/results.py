"""The values that calls return, frozen and plain, without protobuf in them.

They have the names and meaning of the messages of ``generation.proto``. All offsets and counts are in characters (NFC
code points), all log-probabilities in nats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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
    """A character that the model could have put in a place."""

    character: str
    """The character; empty for the end of the document."""
    logprob: float
    """Its log-probability."""


@dataclass(frozen=True)
class CharacterLogprob:
    """A character and its log-probability."""

    character: str
    """The character; empty for the end of the document."""
    logprob: float
    """Its log-probability given all characters before it."""
    alternatives: tuple[AlternativeCharacter, ...]
    """The most likely characters in its place, as many as ``top_logprobs``, the most likely first."""
    rank: int | None = None
    """Its place among all that can stand there, 1 for the most likely; None unless ``details`` was set."""
    entropy: float | None = None
    """Entropy of the distribution in its place; None unless ``details`` was set."""


@dataclass(frozen=True)
class Activations:
    """Gates and states of units of the network, after the model has read each character of a text."""

    layer: int
    """The recurrent layer; 0 is the first."""
    units: tuple[int, ...]
    """The units, as in the request."""
    quantities: tuple[str, ...]
    """Names of its values: of an LSTM ``input``, ``forget``, ``output``, ``candidate``, ``cell`` and ``hidden``."""
    values: tuple[tuple[tuple[float, ...], ...], ...]
    """For each character, for each unit, each quantity."""

    def column(self, unit: int, quantity: str) -> tuple[float, ...]:
        """Returns one quantity of one unit after each character. Raises ``ValueError`` if it isn't there."""
        place, which = self.units.index(unit), self.quantities.index(quantity)
        return tuple(character[place][which] for character in self.values)


@dataclass(frozen=True)
class Usage:
    """The cost of a request."""

    prompt_characters: int
    """Number of characters of the prompt that the model read, without unknown ones that were skipped."""
    generated_characters: int
    """Number of characters that the model generated, including a stop text that isn't part of the text."""


@dataclass(frozen=True)
class Started:
    """The server admitted the request."""

    request_id: str
    """Identifier of the call, also in the server's log."""
    model: str
    """Name of the model that generates."""
    model_digest: str
    """SHA-256 of the model file, in hexadecimal."""
    seed: int
    """Seed of the random numbers: the request's, its token's, or the one that the server drew."""
    numeric_class: str = ""
    """Two servers of one numeric class return the same bytes; empty if the server is of an earlier version."""


@dataclass(frozen=True)
class Delta:
    """More text."""

    text: str
    """The text, in whole characters; never empty."""
    offset: int
    """Number of characters before it, an echoed prompt included."""
    logprobs: tuple[CharacterLogprob, ...]
    """One entry per character; empty unless ``top_logprobs`` was set."""
    resume_token: bytes = field(default=b"", repr=False)
    """Continues the text after this delta, as ``resume_token`` of another call; empty if the delta has none."""
    activations: Activations | None = field(default=None, repr=False)
    """Of its characters; None unless ``include_activations`` was set."""


@dataclass(frozen=True)
class Finished:
    """The text ended."""

    finish_reason: FinishReason
    """Why it ended."""
    stop_sequence: str
    """The stop text that ended it, or empty."""
    usage: Usage
    """How many characters were read and generated."""
    resume_token: bytes = field(default=b"", repr=False)
    """Continues the text from here, as ``resume_token`` of another call; empty if the server sent no token."""


@dataclass(frozen=True)
class Resumed:
    """Another call, to another server or to one that is back, continues a text that was cut."""

    request_id: str
    """Identifier of that call, also in its server's log."""
    offset: int
    """Number of characters that had come."""
    repeated_characters: int
    """How many of them were generated again, compared and left out; 0 if a resume token was at hand."""


Event = Started | Delta | Finished | Resumed
"""An event of a stream: one ``Started``, any number of ``Delta``, one ``Finished``; ``Resumed`` only if asked for."""


@dataclass(frozen=True)
class Generation:
    """A whole generated text: the events of a stream in one value."""

    started: Started
    """The model and the seed in use."""
    text: str
    """The text, without the prompt unless ``echo`` was set."""
    logprobs: tuple[CharacterLogprob, ...]
    """One entry per character; empty unless ``top_logprobs`` was set."""
    finished: Finished
    """Why the text ended."""
    activations: Activations | None = field(default=None, repr=False)
    """Of its characters; None unless ``include_activations`` was set."""


@dataclass(frozen=True)
class Score:
    """How likely a text is."""

    request_id: str
    """Identifier of the call, also in the server's log."""
    model: str
    """Name of the model that scored."""
    model_digest: str
    """SHA-256 of the model file, in hexadecimal."""
    characters: tuple[CharacterLogprob, ...]
    """One entry per character of the text."""
    total_logprob: float
    """Sum of the log-probabilities, in nats."""
    bits_per_character: float
    """-``total_logprob`` / ln 2 / number of characters."""
    activations: Activations | None = field(default=None, repr=False)
    """Of its characters; None unless ``include_activations`` was set."""


@dataclass(frozen=True)
class Model:
    """A model that the server holds."""

    name: str
    """Name by which requests ask for it."""
    digest: str
    """SHA-256 of the model file, in hexadecimal."""
    is_default: bool
    """Whether requests that name no model use this one."""
    cell: str
    """Recurrent cell: ``lstm``, ``gru`` or ``rnn``."""
    layers: int
    """Number of recurrent layers."""
    hidden_size: int
    """Number of units per layer."""
    parameters: int
    """Number of trainable parameters."""
    alphabet_kind: str
    """How text becomes symbols: ``characters``, ``jamo`` or ``bytes``."""
    alphabet: tuple[str, ...]
    """The symbols in the order of their ids, from id 1 on (id 0 is the document boundary). A byte is the code point of
    its number."""
    precision: str
    """Arithmetic of the weights: ``int8`` or ``fp32``."""
    provider: str
    """Where it runs: ``cpu`` or ``cuda``."""
    numeric_class: str
    """Two servers of one numeric class return the same bytes for the same model file and request."""
    replay: Replay
    """How exactly the server's machine reproduces the replay sample of the model file."""
    batch_dependent: bool
    """Whether a text may depend on the other rows of its batch; never on ``cpu``."""
    validation_loss: float
    """Loss on the validation text of the training, in nats per character."""
    state_bytes: int
    """Size of the recurrent state of one stream, in bytes."""
    max_characters: int
    """Limit of ``max_characters`` of a request."""
    max_prompt_characters: int
    """Limit of the length of a prompt or a scored text, in characters."""
    load_time: datetime | None
    """When the server loaded the model file; None if the server is of an earlier version."""
    is_current: bool
    """Whether requests by the model's name can reach this version; one that was replaced is asked for as
    NAME@DIGEST."""
    weight: float
    """Part of the requests by the model's name that this version serves, 0 to 1."""


@dataclass(frozen=True)
class LoadFailure:
    """A model file that the server could not load; its model is as it was before."""

    name: str
    """Name of the model that it would be, with its share if it has one."""
    reason: str
    """Why, in one word."""
    message: str
    """Why, for people to read."""
    tried_time: datetime
    """When the server tried it last."""
