"""Ends: the fields of a request that say which texts are allowed, and where these end.

A part of ``requests``. ``constraints`` compiles their automata.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.constraints.choices import MOST_CHOICES

from ..pacing import Steps
from .errors import InvalidArgumentError

MOST_LISTED = {"nextchar.v1.GenerationParameters.choices": MOST_CHOICES}
"""Most texts of the fields that may have more than all others together."""

_PIECE = 4096  # choices that are read in a step
_FIELDS = ("regex", "json_schema", "choices")


def read(parameters: pb.GenerationParameters, max_characters: int) -> Steps[dict[str, Any]]:
    """Returns the fields of a ``Generation`` that say which texts are allowed. Raises ``InvalidArgumentError``."""
    given = [name for name in _FIELDS[:2] if parameters.HasField(name)]
    if parameters.choices:
        given.append("choices")
    if len(given) > 1:
        raise InvalidArgumentError(f"parameters.{given[-1]}", f"doesn't go with {given[0]}")
    field = f"parameters.{given[0]}" if given else ""
    for name in ("min_characters", "ignore_end_of_document"):
        if field and getattr(parameters, name):
            raise InvalidArgumentError(
                f"parameters.{name}", f"doesn't go with {given[0]}, which says where a text ends"
            )
    if parameters.min_characters > max_characters:
        raise InvalidArgumentError(
            "parameters.min_characters", f"{parameters.min_characters} is more than max_characters, {max_characters}"
        )
    texts = (
        (yield from _choices(parameters)) if parameters.choices else tuple(getattr(parameters, name) for name in given)
    )
    has_end = parameters.HasField("ignore_end_of_document")
    return {
        "constraint_field": field,
        "constraint_texts": texts,
        "constraint_digest": (yield from _digest(field, texts)) if field else b"",
        "min_characters": parameters.min_characters,
        "ignores_end": parameters.ignore_end_of_document if has_end else None,
        "allow_malformed": parameters.allow_malformed,
    }


def _choices(parameters: pb.GenerationParameters) -> Steps[tuple[str, ...]]:
    count = len(parameters.choices)
    if count > MOST_CHOICES:
        raise InvalidArgumentError("parameters.choices", f"{count} choices; at most {MOST_CHOICES} are allowed")
    texts: list[str] = []
    for first in range(0, count, _PIECE):
        if first:
            yield
        texts += parameters.choices[first : first + _PIECE]
    return tuple(texts)


def _digest(field: str, texts: tuple[str, ...]) -> Steps[bytes]:
    """Returns a digest that no other field or texts have."""
    digest = blake2b(field.encode(), digest_size=32)
    for first in range(0, len(texts), _PIECE):
        if first:
            yield
        part = texts[first : first + _PIECE]
        digest.update(repr(list(map(len, part))).encode())
        digest.update("".join(part).encode())
    return digest.digest()
