"""Messages of the protocol from requests of the HTTP API.

Stands behind ``schema``, before the service, which checks what is asked for.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from nextchar.v1 import generation_pb2 as pb

from .errors import invalid
from .marks import Mark
from .place import Place
from .schema import CompletionRequest, ScoreBody

_SEED_BITS = 53
"""Of a drawn seed, so that every reader of JSON has all of them."""

_SAME = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "echo",
    "include_stop_sequence",
    "regex",
    "choices",
    "replacement_character",
    "min_characters",
    "ignore_end_of_document",
    "allow_malformed",
)
"""Fields that have the same name in ``GenerationParameters``."""

_OTHERS = {"max_tokens": "max_characters", "logprobs": "top_logprobs", "logit_bias": "character_bias"}
_UNKNOWN = {
    "error": pb.UNKNOWN_CHARACTERS_ERROR,
    "skip": pb.UNKNOWN_CHARACTERS_SKIP,
    "replace": pb.UNKNOWN_CHARACTERS_REPLACE,
}
TEXTS = {"model", "prompt", "resume_token", "regex", "suffix", "user", "unknown_characters", "replacement_character"}
"""Fields of a query that are texts."""

PERHAPS_TEXTS = {"stop", "json_schema"}
"""Fields of a query that may be texts, or JSON."""


def seeded(body: CompletionRequest) -> CompletionRequest:
    """Returns the request with a seed."""
    if body.seed is not None or body.resume_token is not None:
        return body
    return body.model_copy(update={"seed": secrets.randbits(_SEED_BITS)})


def whole(body: CompletionRequest, prompt: str) -> pb.GenerateRequest:
    """The request for whole texts after ``prompt``. Raises ``ApiError``."""
    message = pb.GenerateRequest(model=body.model, parameters=_parameters(body))
    _start(message, body, prompt)
    if (body.n or 1) > 1 or body.best_of is not None or body.first_sample is not None:
        message.samples = body.n or 1
    if body.best_of is not None and not body.best_of == body.n == 1:
        message.best_of = body.best_of
    if body.first_sample is not None:
        message.first_sample = body.first_sample
    return message


def streamed(body: CompletionRequest, place: Place | None, most: int, *, has_tokens: bool) -> pb.GenerateStreamRequest:
    """The request for a stream of ``most`` characters, or for its rest behind ``place``. Raises ``ApiError``."""
    for name in ("n", "best_of"):
        if getattr(body, name) not in (None, 1):
            raise invalid(name, "only 1 goes with stream")
    if body.first_sample is not None:
        raise invalid("first_sample", "doesn't go with stream")
    if isinstance(body.prompt, list) and len(body.prompt) > 1:
        raise invalid("prompt", "several prompts don't go with stream")
    message = pb.GenerateStreamRequest(model=body.model, parameters=_parameters(body))
    if has_tokens:
        message.parameters.resume_interval = 0 if body.resume_interval is None else body.resume_interval
    if place is None:
        _start(message, body, body.prompts[0])
        return message
    message.resume_token = place.token
    parameters = message.parameters
    parameters.max_characters = most - place.generated
    parameters.min_characters = max(0, parameters.min_characters - place.generated)
    parameters.ClearField("echo")
    parameters.ClearField("seed")
    parameters.ClearField("unknown_characters")
    parameters.ClearField("replacement_character")
    return message


def score(body: ScoreBody, text: str) -> pb.ScoreRequest:
    """The request to score ``text``."""
    message = pb.ScoreRequest(
        model=body.model,
        text=text,
        top_logprobs=body.top_logprobs,
        replacement_character=body.replacement_character,
        details=body.details,
    )
    _put_shared(message, body)
    return message


def from_query(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Returns the fields of a query: texts as they are, all others as JSON. Raises ``ApiError``."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise invalid(name, "is there twice")
        fields[name] = value
        if name not in TEXTS and not (name in PERHAPS_TEXTS and not value.startswith(("[", "{"))):
            try:
                fields[name] = json.loads(value)
            except (ValueError, RecursionError):
                if name not in PERHAPS_TEXTS and name in CompletionRequest.model_fields:
                    raise invalid(name, "is not JSON") from None
    return fields


def _parameters(body: CompletionRequest) -> pb.GenerationParameters:
    fields: dict[str, Any] = {name: getattr(body, name) for name in _SAME}
    fields |= {there: getattr(body, here) for here, there in _OTHERS.items()}
    parameters = pb.GenerationParameters(
        **{name: value for name, value in fields.items() if value is not None and value != []}
    )
    if body.stop is not None:
        parameters.stop_sequences.extend([body.stop] if isinstance(body.stop, str) else body.stop)
    if body.seed is not None:
        parameters.seed = body.seed
    if body.json_schema is not None:
        schema = body.json_schema
        try:
            parameters.json_schema = schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)
        except UnicodeEncodeError:
            raise invalid("json_schema", "has half of a pair of surrogates in it") from None
    _put_shared(parameters, body)
    return parameters


def _put_shared(message: pb.GenerationParameters | pb.ScoreRequest, body: CompletionRequest | ScoreBody) -> None:
    if body.unknown_characters is not None:
        message.unknown_characters = _UNKNOWN[body.unknown_characters]
    if (wish := body.include_activations) is not None:
        message.include_activations.layer = wish.layer
        message.include_activations.units.extend(wish.units)


def _start(message: pb.GenerateRequest | pb.GenerateStreamRequest, body: CompletionRequest, prompt: str) -> None:
    if body.resume_token is None:
        message.prompt = prompt
        return
    if body.prompt is not None:
        raise invalid("resume_token", "doesn't go with prompt: the text continues where the token says")
    place = Place.parse(body.resume_token)
    if Mark.parse(body.resume_token) is not None:
        raise invalid(
            "resume_token", "is a short id, which goes into Last-Event-ID; with resume_interval, ids are tokens"
        )
    if place is None or not place.token:
        raise invalid("resume_token", "is damaged; start from the prompt again")
    message.resume_token = place.token
