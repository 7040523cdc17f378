"""Requests: from the protocol's messages to the inputs of the engine and the text builder, or a clear error.

Invariant: any ``Generation`` or ``Scoring`` can be served; an invalid request is refused before it is queued,
with the name of the field. Cheap checks come first, so that a refusal costs less than a service.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet, Spelling, Unknown
from nextchar_model.batch import SamplingSettings

from ..catalog import Limits
from ..pacing import Steps
from ..text.activations import Chosen
from ..text.text import STAND_INS
from . import ends, texts
from .errors import InvalidArgumentError, shown
from .tokens import Standing

if TYPE_CHECKING:
    from .constraints import Constraint

DEFAULT_MAX_CHARACTERS = 256
MAX_TEMPERATURE = 100.0
MAX_TOP_LOGPROBS = 20
MAX_RANKED = 2048
"""Most symbols of an alphabet whose characters are ranked: all of them are sorted for each character."""

MAX_ANSWER_LOGPROBS = 250_000
"""Most log-probabilities of one answer that isn't streamed, alternatives included: each takes up to 8 bytes."""

_FRAME_BYTES = 16  # around a text or a number: tags and lengths
_OTHER_BYTES = 64 * 1024  # everything else, with room for fields of later versions
_OTHER_FIELDS = 10_000  # candidates among them

Reading: TypeAlias = (
    pb.GenerationParameters | pb.ScoreRequest | pb.ScoreSettings | pb.RescoreRequest | pb.CompleteRequest
)
"""The messages that say how a text is read."""

_UNKNOWN: dict[int, Unknown] = {
    pb.UNKNOWN_CHARACTERS_UNSPECIFIED: "error",
    pb.UNKNOWN_CHARACTERS_ERROR: "error",
    pb.UNKNOWN_CHARACTERS_SKIP: "skip",
    pb.UNKNOWN_CHARACTERS_REPLACE: "replace",
}


@dataclass(frozen=True, slots=True)
class Generation:
    """A text to generate."""

    prompt: Spelling
    start: Standing | None
    """Where the text that this one continues stands; None without one."""
    max_characters: int
    settings: SamplingSettings
    seed: int
    stop_sequences: tuple[str, ...]
    include_stop_sequence: bool
    echo: bool
    top_logprobs: int | None
    resume_interval: int | None
    constraint_field: str = ""
    """The field whose texts constrain this one; empty if none does."""
    constraint_texts: tuple[str, ...] = ()
    constraint_digest: bytes = b""
    """Of the field and its texts, 32 bytes."""
    min_characters: int = 0
    ignores_end: bool | None = None
    """Whether the document never ends; None for the model's own rule."""
    allow_malformed: bool = False
    constraint: Constraint | None = None
    """The automaton that the text follows, once it is compiled; None if it follows none."""
    activations: Chosen | None = None
    """The units whose activations are wanted, if any are."""

    @property
    def skip(self) -> int:
        """Characters that are generated again before the text continues."""
        return 0 if self.start is None else self.start.skip

    @property
    def most_characters(self) -> int:
        """Most characters of the text, an echoed prompt included."""
        return self.max_characters + (len(self.prompt.text) if self.echo else 0)


@dataclass(frozen=True)
class Scoring:
    """A text to score."""

    text: Spelling
    top_logprobs: int
    details: bool


def most_bytes(limits: Limits, symbols: int) -> int:
    """Returns the size from which no request to a model with ``symbols`` symbols is valid, at least 1 MiB.

    The largest one has the longest prompt, all stop sequences and a bias of each symbol, in the longest form of UTF-8.
    Below a MiB, whatever is too long is refused with the name of its field.
    """
    stop_sequences = texts.MAX_STOP_SEQUENCES * (texts.BYTES * texts.MAX_STOP_SEQUENCE_CHARACTERS + _FRAME_BYTES)
    bias = symbols * (texts.BYTES + _FRAME_BYTES)
    return max(2**20, texts.BYTES * limits.max_prompt_characters + stop_sequences + bias + _OTHER_BYTES)


def most_fields(symbols: int) -> int:
    """Returns the number of fields that the largest valid request to a model with ``symbols`` symbols has.

    Each symbol's bias is three: an entry, its key and its value. Fields of later versions may come too, and choices are
    counted apart.
    """
    return 3 * symbols + texts.MAX_STOP_SEQUENCES + _OTHER_FIELDS


def generation(
    request: pb.GenerateRequest | pb.GenerateStreamRequest,
    alphabet: Alphabet,
    limits: Limits,
    read_token: Callable[[bytes], Standing],
) -> Steps[Generation]:
    """Reads a request to generate with a model of ``alphabet``, whose tokens ``read_token`` reads.

    Raises ``RequestError``.
    """
    parameters = request.parameters
    default = min(DEFAULT_MAX_CHARACTERS, limits.max_characters)
    max_characters = parameters.max_characters if parameters.HasField("max_characters") else default
    if not (max_characters or parameters.echo) or max_characters > limits.max_characters:
        least = 0 if parameters.echo else 1
        raise InvalidArgumentError(
            "parameters.max_characters", f"{max_characters} is not between {least} and {limits.max_characters}"
        )
    temperature = _number(parameters, "temperature", 1.0, 0.0, MAX_TEMPERATURE)
    top_p = _number(parameters, "top_p", 1.0, 0.0, 1.0, above=True)
    min_p = _number(parameters, "min_p", 0.0, 0.0, 1.0)
    top_logprobs = (
        read_top_logprobs(parameters, "parameters.", alphabet) if parameters.HasField("top_logprobs") else None
    )
    is_whole = isinstance(request, pb.GenerateRequest)
    if is_whole and top_logprobs is not None:
        check_answer(max_characters, top_logprobs, "parameters.top_logprobs")
    start = _start(request, read_token) if request.WhichOneof("start") == "resume_token" else None
    stop_sequences = yield from texts.stop_sequences(parameters, alphabet)
    bias = yield from texts.bias(parameters, alphabet)
    prompt = yield from read_text(request.prompt, "prompt", alphabet, limits, parameters, "parameters.")
    if is_whole and top_logprobs is not None and parameters.echo:
        check_answer(len(prompt.text) + max_characters, top_logprobs, "parameters.top_logprobs")
    return Generation(
        prompt=prompt,
        start=start,
        max_characters=max_characters,
        settings=SamplingSettings(temperature=temperature, top_k=parameters.top_k, top_p=top_p, min_p=min_p, bias=bias),
        seed=start.seed if start else parameters.seed if parameters.HasField("seed") else secrets.randbits(64),
        stop_sequences=stop_sequences,
        include_stop_sequence=parameters.include_stop_sequence,
        echo=parameters.echo,
        top_logprobs=top_logprobs,
        resume_interval=parameters.resume_interval if parameters.HasField("resume_interval") and not is_whole else None,
        **(yield from ends.read(parameters, max_characters)),
    )


def scoring(request: pb.ScoreRequest, alphabet: Alphabet, limits: Limits) -> Steps[Scoring]:
    """Reads a request to score with a model of ``alphabet``. Raises ``RequestError``."""
    top_logprobs = read_top_logprobs(request, "", alphabet)
    text = yield from read_text(request.text, "text", alphabet, limits, request, "")
    if not text.text:
        raise InvalidArgumentError("text", "there is no character to score")
    details = read_details(request, "", alphabet)
    check_answer(len(text.text), top_logprobs + details, "top_logprobs")
    return Scoring(text, top_logprobs, details)


def read_details(parameters: pb.ScoreRequest | pb.ScoreSettings, prefix: str, alphabet: Alphabet) -> bool:
    """Reads whether ranks and entropies are wanted."""
    field = f"{prefix}details"
    if parameters.details and alphabet.kind != "characters":
        raise InvalidArgumentError(
            field, f"the model's alphabet ({alphabet.kind}) spells characters with several symbols, which have no rank"
        )
    if parameters.details and alphabet.size > MAX_RANKED:
        raise InvalidArgumentError(
            field, f"the model's alphabet has {alphabet.size} symbols; at most {MAX_RANKED} are ranked"
        )
    return parameters.details


def _start(request: pb.GenerateRequest | pb.GenerateStreamRequest, read_token: Callable[[bytes], Standing]) -> Standing:
    """Reads the resume token of a request."""
    if request.parameters.HasField("seed"):
        raise InvalidArgumentError("parameters.seed", "doesn't go with resume_token, which has a seed")
    if request.parameters.echo:
        raise InvalidArgumentError("parameters.echo", "doesn't go with resume_token: there is no prompt")
    return read_token(request.resume_token)


def read_text(
    text: str, field: str, alphabet: Alphabet, limits: Limits, parameters: Reading, prefix: str
) -> Steps[Spelling]:
    """Reads a prompt or a text to score."""
    unknown, replacement = yield from read_unknown(alphabet, parameters, prefix)
    most = limits.max_prompt_characters
    composed = yield from texts.composed(text, field, most)
    if composed is None:
        raise InvalidArgumentError(field, f"{len(text)} code points; this server accepts at most {most} characters")
    return (yield from texts.spelled(composed, field, alphabet, unknown, replacement))


def read_unknown(alphabet: Alphabet, parameters: Reading, prefix: str) -> Steps[tuple[Unknown, str]]:
    """Reads how to treat characters that ``alphabet`` can't spell, and the character that replaces them."""
    if (unknown := _UNKNOWN.get(parameters.unknown_characters)) is None:
        raise InvalidArgumentError(
            f"{prefix}unknown_characters", f"{parameters.unknown_characters} is not a value of UnknownCharacters"
        )
    name = f"{prefix}replacement_character"
    replacement = yield from texts.composed(parameters.replacement_character, name, 1)
    if unknown == "replace":
        if not parameters.replacement_character:
            raise InvalidArgumentError(name, "is required with UNKNOWN_CHARACTERS_REPLACE")
        if replacement is None or not alphabet.knows(replacement):
            raise InvalidArgumentError(
                name, f"{shown(parameters.replacement_character)} is not one character of the model's alphabet"
            )
    elif parameters.HasField("replacement_character"):
        raise InvalidArgumentError(name, "only goes with UNKNOWN_CHARACTERS_REPLACE")
    return unknown, replacement or ""


def check_answer(characters: int, top_logprobs: int, field: str) -> None:
    """Refuses an answer that would exceed the 4 MiB that gRPC clients accept by default."""
    if characters * (1 + top_logprobs) > MAX_ANSWER_LOGPROBS:
        raise InvalidArgumentError(
            field,
            f"{characters} characters with {top_logprobs} alternatives each are more than the "
            f"{MAX_ANSWER_LOGPROBS} log-probabilities of one answer; ask for fewer, or for a stream",
        )


def _number(
    parameters: pb.GenerationParameters, field: str, default: float, least: float, most: float, *, above: bool = False
) -> float:
    """Returns the value of ``field``, which must be in [least, most], or in (least, most] with ``above``."""
    if not parameters.HasField(field):
        return default
    value: float = getattr(parameters, field)
    if not (least < value if above else least <= value) or not value <= most:
        bounds = f"above {least:g} and at most {most:g}" if above else f"between {least:g} and {most:g}"
        raise InvalidArgumentError(f"parameters.{field}", f"{value:g} is not {bounds}")
    return value


def read_top_logprobs(
    parameters: pb.GenerationParameters | pb.ScoreRequest | pb.ScoreSettings | pb.RescoreRequest,
    prefix: str,
    alphabet: Alphabet,
) -> int:
    """Reads the number of alternatives of each character."""
    if parameters.top_logprobs > MAX_TOP_LOGPROBS:
        raise InvalidArgumentError(
            f"{prefix}top_logprobs", f"{parameters.top_logprobs} is not between 0 and {MAX_TOP_LOGPROBS}"
        )
    if parameters.top_logprobs and alphabet.kind != "characters":
        raise InvalidArgumentError(
            f"{prefix}top_logprobs",
            f"the model's alphabet ({alphabet.kind}) spells characters with several symbols, so the likeliest "
            "characters are unknown; 0 returns each character's own log-probability",
        )
    if parameters.top_logprobs and not STAND_INS.isdisjoint(alphabet.symbols):
        raise InvalidArgumentError(
            f"{prefix}top_logprobs",
            "the model's alphabet has U+FFFE or U+FFFF, which stand for no character among alternatives; "
            "0 returns each character's own log-probability",
        )
    return int(parameters.top_logprobs)
