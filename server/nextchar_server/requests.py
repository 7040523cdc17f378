"""Requests: from the protocol's messages to what the engine and the text builder need, or a clear error.

What always holds: a ``Generation`` or ``Scoring`` that exists can be served; all that is wrong with a request
is said before it is queued, with the field's name.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.errors import InvalidArgumentError, NotServedError
from nextchar_training.alphabet import Alphabet, Ids, Unknown, UnknownCharacterError, normalize
from nextchar_training.runner import Settings

DEFAULT_MAX_CHARACTERS = 256
MAX_TEMPERATURE = 100.0
MAX_STOP_SEQUENCES = 16
MAX_STOP_SEQUENCE_CHARACTERS = 256
MAX_TOP_LOGPROBS = 20
MAX_BIAS = 100.0

_UNKNOWN: dict[int, Unknown] = {
    pb.UNKNOWN_CHARACTERS_UNSPECIFIED: "error",
    pb.UNKNOWN_CHARACTERS_ERROR: "error",
    pb.UNKNOWN_CHARACTERS_SKIP: "skip",
    pb.UNKNOWN_CHARACTERS_REPLACE: "replace",
}


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    max_characters: int
    max_prompt_characters: int


@dataclass(frozen=True)
class Generation:
    """A text to generate."""

    prompt: Ids
    max_characters: int
    settings: Settings
    seed: int
    stop_sequences: tuple[str, ...]
    include_stop_sequence: bool
    echo: bool
    top_logprobs: int | None


@dataclass(frozen=True)
class Scoring:
    """A text to score."""

    text: Ids
    top_logprobs: int


def generation(
    request: pb.GenerateRequest | pb.GenerateStreamRequest, alphabet: Alphabet, limits: Limits
) -> Generation:
    """What ``request`` asks of a model with ``alphabet``. Raises ``RequestError``."""
    parameters = request.parameters
    if request.WhichOneof("start") == "resume_token":
        raise NotServedError("resume_token")
    if parameters.HasField("regex"):
        raise NotServedError("parameters.regex")
    default = min(DEFAULT_MAX_CHARACTERS, limits.max_characters)
    max_characters = parameters.max_characters if parameters.HasField("max_characters") else default
    if not 1 <= max_characters <= limits.max_characters:
        raise InvalidArgumentError(
            "parameters.max_characters", f"{max_characters} is not between 1 and {limits.max_characters}"
        )
    return Generation(
        prompt=_ids(request.prompt, "prompt", alphabet, limits, parameters, "parameters."),
        max_characters=max_characters,
        settings=Settings(
            temperature=_number(parameters, "temperature", 1.0, 0.0, MAX_TEMPERATURE),
            top_k=parameters.top_k,
            top_p=_number(parameters, "top_p", 1.0, 0.0, 1.0, above=True),
            min_p=_number(parameters, "min_p", 0.0, 0.0, 1.0),
            bias=_bias(parameters, alphabet),
        ),
        seed=parameters.seed if parameters.HasField("seed") else secrets.randbits(64),
        stop_sequences=_stop_sequences(parameters, alphabet),
        include_stop_sequence=parameters.include_stop_sequence,
        echo=parameters.echo,
        top_logprobs=_top_logprobs(parameters, "parameters.") if parameters.HasField("top_logprobs") else None,
    )


def scoring(request: pb.ScoreRequest, alphabet: Alphabet, limits: Limits) -> Scoring:
    """What ``request`` asks of a model with ``alphabet``. Raises ``RequestError``."""
    text = _ids(request.text, "text", alphabet, limits, request, "")
    if len(text) == 0:
        raise InvalidArgumentError("text", "there is no character to score")
    return Scoring(text, _top_logprobs(request, ""))


def _ids(
    text: str,
    field: str,
    alphabet: Alphabet,
    limits: Limits,
    parameters: pb.GenerationParameters | pb.ScoreRequest,
    prefix: str,
) -> Ids:
    text = normalize(text)
    if len(text) > limits.max_prompt_characters:
        raise InvalidArgumentError(
            field, f"{len(text)} characters; this server takes at most {limits.max_prompt_characters}"
        )
    if (unknown := _UNKNOWN.get(parameters.unknown_characters)) is None:
        raise InvalidArgumentError(
            f"{prefix}unknown_characters", f"{parameters.unknown_characters} is no value of UnknownCharacters"
        )
    name, replacement = f"{prefix}replacement_character", normalize(parameters.replacement_character)
    if unknown == "replace":
        if len(replacement) != 1 or replacement not in alphabet.symbols:
            raise InvalidArgumentError(name, f"{replacement!r} is not one character of the model's alphabet")
    elif parameters.HasField("replacement_character"):
        raise InvalidArgumentError(name, "only goes with UNKNOWN_CHARACTERS_REPLACE")
    try:
        return alphabet.encode(text, unknown=unknown, replacement=replacement)
    except UnknownCharacterError as error:
        raise InvalidArgumentError(field, str(error)) from error


def _number(
    parameters: pb.GenerationParameters, field: str, default: float, least: float, most: float, *, above: bool = False
) -> float:
    """The value of ``field``, from ``least`` (not itself, with ``above``) to ``most``."""
    if not parameters.HasField(field):
        return default
    value: float = getattr(parameters, field)
    if not (least < value if above else least <= value) or not value <= most:
        bounds = f"above {least:g} and at most {most:g}" if above else f"between {least:g} and {most:g}"
        raise InvalidArgumentError(f"parameters.{field}", f"{value:g} is not {bounds}")
    return value


def _bias(parameters: pb.GenerationParameters, alphabet: Alphabet) -> NDArray[np.float32] | None:
    if not parameters.character_bias:
        return None
    bias = np.zeros(alphabet.size, np.float32)
    for key, value in parameters.character_bias.items():
        field = f"parameters.character_bias[{key!r}]"
        symbol = normalize(key)
        if len(symbol) != 1 or symbol not in alphabet.symbols:
            raise InvalidArgumentError(field, "the key is not one character of the model's alphabet")
        if not abs(value) <= MAX_BIAS:  # NaN is refused too
            raise InvalidArgumentError(field, f"{value:g} is not between {-MAX_BIAS:g} and {MAX_BIAS:g}")
        if symbol != key and symbol in parameters.character_bias:
            raise InvalidArgumentError(field, f"is the same character as {symbol!r}, which is given too")
        bias[alphabet.encode(symbol)[0]] = value
    return bias


def _stop_sequences(parameters: pb.GenerationParameters, alphabet: Alphabet) -> tuple[str, ...]:
    stop_sequences = tuple(normalize(stop) for stop in parameters.stop_sequences)
    if len(stop_sequences) > MAX_STOP_SEQUENCES:
        raise InvalidArgumentError(
            "parameters.stop_sequences", f"{len(stop_sequences)} of them; at most {MAX_STOP_SEQUENCES} are taken"
        )
    for place, stop in enumerate(stop_sequences):
        field = f"parameters.stop_sequences[{place}]"
        if not 1 <= len(stop) <= MAX_STOP_SEQUENCE_CHARACTERS:
            raise InvalidArgumentError(field, f"{len(stop)} characters; it takes 1 to {MAX_STOP_SEQUENCE_CHARACTERS}")
        try:
            alphabet.encode(stop)
        except UnknownCharacterError as error:
            raise InvalidArgumentError(field, f"can never appear: {error}") from error
    return stop_sequences


def _top_logprobs(parameters: pb.GenerationParameters | pb.ScoreRequest, prefix: str) -> int:
    if parameters.top_logprobs > MAX_TOP_LOGPROBS:
        raise InvalidArgumentError(
            f"{prefix}top_logprobs", f"{parameters.top_logprobs} is not between 0 and {MAX_TOP_LOGPROBS}"
        )
    return int(parameters.top_logprobs)
