"""The routes as the OpenAPI document describes them.

Stands beside ``api``. The requests document themselves; the answers are described here, because they are made in
pieces, past the framework.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from .requests import PERHAPS_TEXTS, TEXTS
from .schema import CompletionRequest


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ErrorBody(_Answer):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    """Field of the request."""
    code: str


class ErrorAnswer(_Answer):
    """A request that can't be served."""

    error: ErrorBody


class Logprobs(_Answer):
    """Log-probabilities in columns: entry n belongs to character n."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Activations(_Answer):
    """Gates and states of units."""

    layer: int
    units: list[int]
    quantities: list[str]
    values: list[float]
    """For each character, for each unit, the value of each quantity."""


class Choice(_Answer):
    """A text."""

    index: int
    text: str
    finish_reason: str | None
    """stop, length or draining; absent before the end of a stream."""
    logprobs: Logprobs | None = None
    activations: Activations | None = None
    stop_sequence: str | None = None
    resume_token: str | None = None


class Usage(_Answer):
    """Size of a request, in characters."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(_Answer):
    """Texts, or a part of one in a stream."""

    id: str
    object: str
    created: int
    model: str
    model_digest: str
    system_fingerprint: str
    """Numeric class of the server."""
    seed: int
    choices: list[Choice]
    usage: Usage | None = None


class Alternative(_Answer):
    """A character that could be there."""

    character: str
    logprob: float | None


class ScoredCharacter(_Answer):
    """A character of a text."""

    character: str
    logprob: float | None
    rank: int | None = None
    entropy: float | None = None
    top_logprobs: list[Alternative] | None = None


class ScoredText(_Answer):
    """How likely a text is."""

    text: str
    total_logprob: float | None
    bits_per_character: float | None
    characters: list[ScoredCharacter]
    activations: Activations | None = None


class Scores(_Answer):
    """How likely texts are."""

    id: str
    object: str
    created: int
    model: str
    model_digest: str
    scores: list[ScoredText]


class Model(_Answer):
    """A model."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str
    object: str
    created: int
    owned_by: str
    digest: str
    alphabet_kind: str
    alphabet: list[str]


class Models(_Answer):
    """All models."""

    object: str
    data: list[Model]


_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "A field is wrong; `param` names it."},
    401: {"model": ErrorAnswer, "description": "No valid credential."},
    404: {"model": ErrorAnswer, "description": "No such model."},
    422: {"model": ErrorAnswer, "description": "Never sent: 400 is."},
    429: {"model": ErrorAnswer, "description": "Too much at once. Retry-After says when to try again."},
    503: {"model": ErrorAnswer, "description": "The server is shutting down."},
}
_BAD_TOKEN = {409: {"model": ErrorAnswer, "description": "The resume token is of another model."}}
_STREAM: dict[str, Any] = {"text/event-stream": {}}


def _query() -> list[dict[str, Any]]:
    properties = CompletionRequest.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "description": about["description"], **_form(name, about)}
        for name, about in properties.items()
        if name not in ("stream", "n", "best_of", "first_sample")
    ]


def _form(name: str, about: dict[str, Any]) -> dict[str, Any]:
    """Returns the form of a field in a query: a text as it is, and all others as JSON."""
    if name in TEXTS:
        return {"schema": {"type": "string"}}
    if name in PERHAPS_TEXTS or "$ref" in str(about):  # either, or with parts that the query doesn't repeat
        return {"schema": {}}
    return {"content": {"application/json": {"schema": about}}}


COMPLETION: dict[str, Any] = {
    "responses": {
        **_ERRORS,
        **_BAD_TOKEN,
        200: {"model": Completion, "content": _STREAM, "description": "The texts."},
        204: {"description": "The stream had ended."},
    },
    "response_model": None,
}
COMPLETION_STREAM: dict[str, Any] = {
    "responses": {
        **_ERRORS,
        **_BAD_TOKEN,
        200: {"content": _STREAM, "description": "The text in events."},
        204: {"description": "The stream had ended."},
    },
    "response_model": None,
    "openapi_extra": {"parameters": _query()},
}
SCORE: dict[str, Any] = {"responses": {**_ERRORS, 200: {"model": Scores}}, "response_model": None}
MODELS: dict[str, Any] = {"responses": {**_ERRORS, 200: {"model": Models}}, "response_model": None}
MODEL: dict[str, Any] = {"responses": {**_ERRORS, 200: {"model": Model}}, "response_model": None}
