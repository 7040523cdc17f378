"""Requests: from the protocol's messages to the inputs of the engine and the text builder, or a clear error.

Invariant: any ``Generation`` or ``Scoring`` can be served; an invalid request is refused before it is queued,
with the name of the field.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet, Spelling, Unknown, UnknownCharacterError
from nextchar_model.batch import SamplingSettings
from nextchar_model.composition import normalize

from ..catalog import Limits
from .errors import InvalidArgumentError, NotServedError, shown

DEFAULT_MAX_CHARACTERS = 256
MAX_TEMPERATURE = 100.0
MAX_STOP_SEQUENCES = 16
MAX_STOP_SEQUENCE_CHARACTERS = 256
MAX_TOP_LOGPROBS = 20
MAX_BIAS = 100.0
MAX_COMBINING_RUN = 30
MAX_ANSWER_LOGPROBS = 250_000
"""Most log-probabilities of one answer that isn't streamed, alternatives included: each takes up to 15 bytes."""

_UNKNOWN: dict[int, Unknown] = {
    pb.UNKNOWN_CHARACTERS_UNSPECIFIED: "error",
    pb.UNKNOWN_CHARACTERS_ERROR: "error",
    pb.UNKNOWN_CHARACTERS_SKIP: "skip",
    pb.UNKNOWN_CHARACTERS_REPLACE: "replace",
}


@dataclass(frozen=True)
class Generation:
    """A text to generate."""

    prompt: Spelling
    max_characters: int
    settings: SamplingSettings
    seed: int
    stop_sequences: tuple[str, ...]
    include_stop_sequence: bool
    echo: bool
    top_logprobs: int | None


@dataclass(frozen=True)
class Scoring:
    """A text to score."""

    text: Spelling
    top_logprobs: int


def generation(
    request: pb.GenerateRequest | pb.GenerateStreamRequest, alphabet: Alphabet, limits: Limits
) -> Generation:
    """Reads a request to generate with a model of ``alphabet``. Raises ``RequestError``."""
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
    prompt = _ids(request.prompt, "prompt", alphabet, limits, parameters, "parameters.")
    top_logprobs = _top_logprobs(parameters, "parameters.", alphabet) if parameters.HasField("top_logprobs") else None
    if isinstance(request, pb.GenerateRequest) and top_logprobs is not None:
        echoed = len(prompt.text) if parameters.echo else 0
        _check_answer(echoed + max_characters, top_logprobs, "parameters.top_logprobs")
    return Generation(
        prompt=prompt,
        max_characters=max_characters,
        settings=SamplingSettings(
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
        top_logprobs=top_logprobs,
    )


def scoring(request: pb.ScoreRequest, alphabet: Alphabet, limits: Limits) -> Scoring:
    """Reads a request to score with a model of ``alphabet``. Raises ``RequestError``."""
    text = _ids(request.text, "text", alphabet, limits, request, "")
    if not text.text:
        raise InvalidArgumentError("text", "there is no character to score")
    top_logprobs = _top_logprobs(request, "", alphabet)
    _check_answer(len(text.text), top_logprobs, "top_logprobs")
    return Scoring(text, top_logprobs)


def _ids(
    text: str,
    field: str,
    alphabet: Alphabet,
    limits: Limits,
    parameters: pb.GenerationParameters | pb.ScoreRequest,
    prefix: str,
) -> Spelling:
    most = limits.max_prompt_characters
    text = _composed(text, field, most)
    if len(text) > most:
        raise InvalidArgumentError(field, f"{len(text)} characters; this server accepts at most {most}")
    if (unknown := _UNKNOWN.get(parameters.unknown_characters)) is None:
        raise InvalidArgumentError(
            f"{prefix}unknown_characters", f"{parameters.unknown_characters} is not a value of UnknownCharacters"
        )
    name = f"{prefix}replacement_character"
    replacement = _composed(parameters.replacement_character, name, 1)
    if unknown == "replace":
        if not replacement:
            raise InvalidArgumentError(name, "is required with UNKNOWN_CHARACTERS_REPLACE")
        if len(replacement) != 1 or not alphabet.knows(replacement):
            raise InvalidArgumentError(name, f"{shown(replacement)} is not one character of the model's alphabet")
    elif parameters.HasField("replacement_character"):
        raise InvalidArgumentError(name, "only goes with UNKNOWN_CHARACTERS_REPLACE")
    try:
        return alphabet.spell(text, unknown=unknown, replacement=replacement)
    except UnknownCharacterError as error:
        raise InvalidArgumentError(field, str(error)) from error


def _composed(text: str, field: str, most: int) -> str:
    """Returns ``text`` in normalization form C. Refuses a text that must be longer than ``most`` or is slow to compose.

    A character decomposes into at most 4 code points. Composing sorts a run of combining marks in quadratic time;
    text for people has no run of more than 30 (UAX #15, Stream-Safe Text Format).
    """
    if len(text) > 4 * most:
        raise InvalidArgumentError(field, f"{len(text)} characters; this server accepts at most {most}")
    if not text.isascii():
        run = 0
        for offset, character in enumerate(text):
            run = run + 1 if unicodedata.combining(character) else 0
            if run > MAX_COMBINING_RUN:
                raise InvalidArgumentError(
                    field, f"more than {MAX_COMBINING_RUN} combining marks in a row, at code point {offset}"
                )
    return normalize(text)


def _check_answer(characters: int, top_logprobs: int, field: str) -> None:
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


def _bias(parameters: pb.GenerationParameters, alphabet: Alphabet) -> NDArray[np.float32] | None:
    if not parameters.character_bias:
        return None
    bias = np.zeros(alphabet.size, np.float32)
    for key, value in parameters.character_bias.items():
        field = f"parameters.character_bias[{shown(key)}]"
        symbol = _composed(key, field, 1)
        if len(symbol) != 1 or not alphabet.knows(symbol):
            raise InvalidArgumentError(field, "the key is not one character of the model's alphabet")
        ids = alphabet.encode(symbol)
        if len(ids) > 1:
            raise InvalidArgumentError(
                field,
                f"the model's alphabet ({alphabet.kind}) spells it with {len(ids)} symbols; a bias needs one",
            )
        if not abs(value) <= MAX_BIAS:  # NaN is refused too
            raise InvalidArgumentError(field, f"{value:g} is not between {-MAX_BIAS:g} and {MAX_BIAS:g}")
        if symbol != key and symbol in parameters.character_bias:
            raise InvalidArgumentError(field, f"is the same character as {symbol!r}, which also has a bias")
        bias[ids[0]] = value
    return bias


def _stop_sequences(parameters: pb.GenerationParameters, alphabet: Alphabet) -> tuple[str, ...]:
    if (count := len(parameters.stop_sequences)) > MAX_STOP_SEQUENCES:
        raise InvalidArgumentError(
            "parameters.stop_sequences", f"{count} stop sequences; at most {MAX_STOP_SEQUENCES} are allowed"
        )
    stop_sequences = []
    for place, given in enumerate(parameters.stop_sequences):
        field = f"parameters.stop_sequences[{place}]"
        stop = _composed(given, field, MAX_STOP_SEQUENCE_CHARACTERS)
        if not 1 <= len(stop) <= MAX_STOP_SEQUENCE_CHARACTERS:
            raise InvalidArgumentError(field, f"{len(stop)} characters; it must be 1 to {MAX_STOP_SEQUENCE_CHARACTERS}")
        try:
            alphabet.encode(stop)
        except UnknownCharacterError as error:
            raise InvalidArgumentError(field, f"can never appear: {error}") from error
        stop_sequences.append(stop)
    return tuple(stop_sequences)


def _top_logprobs(parameters: pb.GenerationParameters | pb.ScoreRequest, prefix: str, alphabet: Alphabet) -> int:
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
    return int(parameters.top_logprobs)
