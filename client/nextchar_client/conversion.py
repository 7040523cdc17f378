"""Conversion between the client's plain values and protobuf messages.

Only this module and ``score_conversion`` know both: options become requests, and responses become results. A value
that no message can carry raises ``InvalidArgumentError`` here, which names the field; whether a value makes sense is
for the server to decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice, repeat
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2

from nextchar.v1 import generation_pb2 as pb

from .errors import InternalError, InvalidArgumentError
from .options import GenerationOptions
from .results import (
    Activations,
    AlternativeCharacter,
    CharacterLogprob,
    Delta,
    Event,
    Finished,
    FinishReason,
    Health,
    LoadFailure,
    Model,
    Replay,
    Started,
    Usage,
)

AnyMessage = TypeVar("AnyMessage", bound=Message)
AnyGenerateRequest = TypeVar("AnyGenerateRequest", pb.GenerateRequest, pb.GenerateStreamRequest)

_UNKNOWN_CHARACTERS = {
    "error": pb.UNKNOWN_CHARACTERS_ERROR,
    "skip": pb.UNKNOWN_CHARACTERS_SKIP,
    "replace": pb.UNKNOWN_CHARACTERS_REPLACE,
}
_END_OF_DOCUMENT, _NO_ALTERNATIVE = "\uffff", "\ufffe"  # among the alternatives
FINISH_REASONS = {
    pb.FINISH_REASON_MAX_CHARACTERS: FinishReason.MAX_CHARACTERS,
    pb.FINISH_REASON_STOP_SEQUENCE: FinishReason.STOP_SEQUENCE,
    pb.FINISH_REASON_END_OF_DOCUMENT: FinishReason.END_OF_DOCUMENT,
    pb.FINISH_REASON_DRAINING: FinishReason.DRAINING,
    pb.FINISH_REASON_REGEX_COMPLETE: FinishReason.REGEX_COMPLETE,
}
"""Why a text ended, by the number in the protocol."""
_REPLAYS = {pb.REPLAY_EXACT: Replay.EXACT, pb.REPLAY_CLOSE: Replay.CLOSE}
_HEALTH = {
    health_pb2.HealthCheckResponse.SERVING: Health.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING: Health.NOT_SERVING,
}


def request(kind: type[AnyMessage], **fields: Any) -> AnyMessage:
    """The message of ``kind`` with ``fields``, without those that are None.

    Raises ``InvalidArgumentError`` for a value that no message can carry, ``TypeError`` for one of a wrong type; both
    name the field.
    """
    message = kind()
    for name, value in fields.items():
        try:
            message.MergeFrom(kind(**{name: value}))
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        except UnicodeEncodeError as error:
            code, offset = ord(error.object[error.start]), error.start
            raise InvalidArgumentError(
                f"{name}: U+{code:04X} at offset {offset} is half a surrogate pair, not a character"
            ) from None
        except ValueError as error:
            raise InvalidArgumentError(f"{name}: {error}") from None
    return message


def generation_request(kind: type[AnyGenerateRequest], prompt: str, options: GenerationOptions) -> AnyGenerateRequest:
    """The request of either kind for ``prompt`` and ``options``; ``timeout`` isn't part of it."""
    for name in options.keys() - GenerationOptions.__annotations__.keys():
        raise TypeError(f"unexpected keyword argument {name!r}")
    fields: dict[str, Any] = dict(options)
    fields.pop("timeout", None)
    model = fields.pop("model", "")
    token = fields.pop("resume_token", None)
    if token is not None and prompt:
        raise InvalidArgumentError("prompt, resume_token: give one of them, not both")
    if token is not None and not token:
        raise InvalidArgumentError("resume_token: it is empty: the event that it came with has none")
    start = {"prompt": prompt} if token is None else {"resume_token": token}
    stop = fields.pop("stop", ())
    fields["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    fields["json_schema"] = _json(fields.get("json_schema"))
    fields["unknown_characters"] = unknown_characters(fields.get("unknown_characters"))
    fields["include_activations"] = activation_request(fields.get("include_activations"))
    return request(kind, model=model, **start, parameters=request(pb.GenerationParameters, **fields))


def _json(schema: str | Mapping[str, Any] | None) -> str | None:
    if not isinstance(schema, Mapping):
        return schema
    try:
        return json.dumps(schema, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"json_schema: {error}") from None


def unknown_characters(value: str | None) -> pb.UnknownCharacters | None:
    """The message's value of the keyword ``unknown_characters``. Raises ``InvalidArgumentError`` if it is unknown."""
    if value is None:
        return None
    if value not in _UNKNOWN_CHARACTERS:
        raise InvalidArgumentError(
            f"unknown_characters: {value!r} is invalid; it must be {' or '.join(_UNKNOWN_CHARACTERS)}"
        )
    return _UNKNOWN_CHARACTERS[value]


def activation_request(wanted: tuple[int, Sequence[int]] | None) -> pb.ActivationRequest | None:
    """The message's value of the keyword ``include_activations``. Raises as ``request`` does."""
    if wanted is None:
        return None
    try:
        layer, units = wanted
        return pb.ActivationRequest(layer=layer, units=units)
    except TypeError:
        raise TypeError(f"include_activations: {wanted!r} is not a layer and its units, such as (0, [3, 17])") from None
    except ValueError as error:
        raise InvalidArgumentError(f"include_activations: {error}") from None


def event(message: pb.GenerateStreamResponse) -> Event | None:
    """The event in a message of a stream; None if only a newer client knows it."""
    match message.WhichOneof("event"):
        case "started":
            return started(message.started)
        case "delta":
            delta = message.delta
            places = logprobs(delta.text, delta.character_logprobs)
            return Delta(
                delta.text, delta.offset, places, delta.resume_token, activations(delta.text, delta.activations)
            )
        case "finished":
            return finished(message.finished)
    return None


def stream_of(message: pb.GenerateResponse) -> Iterator[pb.GenerateStreamResponse]:
    """The messages of a stream that say the same as a whole answer."""
    if message.HasField("started"):
        yield pb.GenerateStreamResponse(started=message.started)
    if message.text:
        delta = pb.Delta(text=message.text)
        delta.character_logprobs.CopyFrom(message.character_logprobs)
        delta.activations.CopyFrom(message.activations)
        yield pb.GenerateStreamResponse(delta=delta)
    if message.HasField("finished"):
        yield pb.GenerateStreamResponse(finished=message.finished)


def model(message: pb.Model) -> Model:
    """The description of a model."""
    return Model(
        name=message.name,
        digest=message.digest,
        is_default=message.is_default,
        cell=message.cell,
        layers=message.layers,
        hidden_size=message.hidden_size,
        parameters=message.parameters,
        alphabet_kind=message.alphabet_kind,
        alphabet=tuple(message.alphabet),
        precision=message.precision,
        provider=message.provider,
        numeric_class=message.numeric_class,
        replay=_REPLAYS.get(message.replay, Replay.UNKNOWN),
        batch_dependent=message.batch_dependent,
        validation_loss=message.validation_loss,
        state_bytes=message.state_bytes,
        max_characters=message.max_characters,
        max_prompt_characters=message.max_prompt_characters,
        load_time=_time(message.load_time) if message.HasField("load_time") else None,
        is_current=message.is_current,
        weight=message.weight,
    )


def load_failure(message: pb.LoadFailure) -> LoadFailure:
    """A model file that could not be loaded."""
    return LoadFailure(message.name, message.reason, message.message, _time(message.tried_time))


def health(message: health_pb2.HealthCheckResponse) -> Health:
    """Whether a server or a service takes calls."""
    return _HEALTH.get(message.status, Health.UNKNOWN)


def _time(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InternalError("a time of the server is out of range") from None


def started(message: pb.Started) -> Started:
    """The first event of a text."""
    return Started(message.request_id, message.model, message.model_digest, message.seed, message.numeric_class)


def finished(message: pb.Finished) -> Finished:
    """The last event of a text."""
    return Finished(
        finish_reason=FINISH_REASONS.get(message.finish_reason, FinishReason.UNKNOWN),
        stop_sequence=message.stop_sequence,
        usage=Usage(message.usage.prompt_characters, message.usage.generated_characters),
        resume_token=message.resume_token,
    )


def activations(text: str, columns: pb.Activations) -> Activations | None:
    """The activations after the characters of ``text``; None if the message has none.

    Raises ``InternalError`` if they don't belong to ``text``.
    """
    units, quantities = len(columns.units), len(columns.quantities)
    if not columns.values:
        return None
    if len(columns.values) != len(text) * units * quantities:
        raise InternalError(
            f"for a text of {len(text)} characters, the server sent {len(columns.values)} values of {units} units and "
            f"{quantities} quantities"
        )
    flat = iter(columns.values)
    values = tuple(tuple(tuple(islice(flat, quantities)) for _ in range(units)) for _ in text)
    return Activations(columns.layer, tuple(columns.units), tuple(columns.quantities), values)


def logprobs(text: str, columns: pb.CharacterLogprobs) -> tuple[CharacterLogprob, ...]:
    """The log-probabilities of the characters of ``text``; empty if the message has none.

    Raises ``InternalError`` if the columns don't belong to ``text``.
    """
    count, each = len(columns.logprobs), columns.alternatives_per_character
    sizes = len(columns.alternatives), len(columns.alternative_logprobs)
    if count not in (0, len(text)) or sizes != (count * each, count * each):
        raise InternalError(
            f"for a text of {len(text)} characters, the server sent {count} log-probabilities, {sizes[0]} alternatives "
            f"of {each} per character, and {sizes[1]} log-probabilities of alternatives"
        )
    if {len(columns.ranks), len(columns.entropies)} - {0, count}:
        raise InternalError(
            f"for {count} characters, the server sent {len(columns.ranks)} ranks and {len(columns.entropies)} entropies"
        )
    others = list(zip(columns.alternatives, columns.alternative_logprobs, strict=True))
    places = zip(text, columns.logprobs, columns.ranks or repeat(None), columns.entropies or repeat(None))  # noqa: B905
    return tuple(
        CharacterLogprob(character, logprob, _alternatives(others[n * each : (n + 1) * each]), rank, entropy)
        for n, (character, logprob, rank, entropy) in enumerate(places)
    )


def _alternatives(others: list[tuple[str, float]]) -> tuple[AlternativeCharacter, ...]:
    return tuple(
        AlternativeCharacter("" if character == _END_OF_DOCUMENT else character, logprob)
        for character, logprob in others
        if character != _NO_ALTERNATIVE
    )
