"""Answers of the HTTP API from messages of the protocol.

The counterpart of ``requests``. Whole answers are made in pieces of text, so that one of any size takes little memory
and never holds the thread for long.

Source: https://platform.openai.com/docs/api-reference/completions/object. Invariant: a number is that of the protocol,
to the bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from nextchar.v1 import generation_pb2 as pb

from .place import Place

DRAINING = "draining"
"""Reason of a stream that the server could not finish; its last id continues it elsewhere."""

END = "<|endoftext|>"
"""Stands for the end of the document, where a character would be."""

_REASONS = {
    pb.FINISH_REASON_MAX_CHARACTERS: "length",
    pb.FINISH_REASON_STOP_SEQUENCE: "stop",
    pb.FINISH_REASON_END_OF_DOCUMENT: "stop",
    pb.FINISH_REASON_REGEX_COMPLETE: "stop",
    pb.FINISH_REASON_DRAINING: DRAINING,
}

_PIECE = 512  # characters whose log-probabilities are made at once
_NO_CHARACTER, _BOUNDARY = "\ufffe", "\uffff"
_MODEL_FIELDS = (
    "digest",
    "is_default",
    "is_current",
    "weight",
    "cell",
    "layers",
    "hidden_size",
    "parameters",
    "alphabet_kind",
    "precision",
    "provider",
    "numeric_class",
    "batch_dependent",
    "validation_loss",
    "state_bytes",
    "max_characters",
    "max_prompt_characters",
)

Pieces = Iterator[str]


def encoded(value: object) -> str:
    """Returns ``value`` as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def head(started: pb.Started) -> dict[str, Any]:
    """The fields with which all chunks of a text, and a whole answer, begin."""
    return {
        "id": f"cmpl-{started.request_id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": started.model,
        "model_digest": started.model_digest,
        "system_fingerprint": started.numeric_class,
        "seed": started.seed,
    }


def usage(prompt: int, generated: int) -> dict[str, int]:
    """The size of a request, in characters."""
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}


def choice(text: str, reason: str | None, **more: object) -> dict[str, Any]:
    """The text of a chunk."""
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason, **more}


def reason(finished: pb.Finished) -> str:
    """Why a text ended."""
    return _REASONS.get(finished.finish_reason, "stop")


def logprobs(text: str, message: pb.CharacterLogprobs, offset: int, start: int = 0) -> dict[str, Any]:
    """The log-probabilities of a chunk, which starts ``offset`` characters after the text's beginning.

    Those of its first ``start`` characters are left out.
    """
    return {name: column(start, len(text)) for name, column in _columns(text, message, offset)}


def activations(message: pb.Activations, start: int = 0) -> dict[str, Any]:
    """Gates and states of units: by character, unit and quantity, one after another, from character ``start`` on."""
    per = len(message.units) * len(message.quantities)
    return {
        "layer": message.layer,
        "units": list(message.units),
        "quantities": list(message.quantities),
        "values": list(message.values[start * per :]),
    }


def completion(answers: Sequence[pb.GenerateResponse], *, is_scored: bool, with_token: bool) -> Pieces:
    """A whole answer: the texts of each prompt. ``is_scored`` says whether a prompt and its scores are in it.

    An end of the document is then a token too, as evaluation harnesses expect. ``with_token`` adds the resume token,
    which is far longer than most texts.
    """
    beginning = head(answers[0].started)
    yield encoded(beginning)[:-1] + ',"choices":['
    index = prompt = generated = 0
    for answer in answers:
        texts: Iterable[pb.GenerateResponse | pb.Sample] = answer.samples or [answer]
        for text in texts:
            yield from _choice(text, index, is_scored=is_scored, with_token=with_token)
            generated += text.finished.usage.generated_characters
            index += 1
        prompt += next(iter(texts)).finished.usage.prompt_characters
    yield f'],"usage":{encoded(usage(prompt, generated))}}}'


def _choice(text: pb.GenerateResponse | pb.Sample, index: int, *, is_scored: bool, with_token: bool) -> Pieces:
    finished = text.finished
    more: dict[str, object] = {"finish_reason": reason(finished)}
    if finished.stop_sequence:
        more["stop_sequence"] = finished.stop_sequence
    if isinstance(text, pb.Sample):
        more |= {"sample": text.index, "seed": text.seed}
        if text.total_logprob:
            more["total_logprob"] = text.total_logprob
    else:
        if with_token and finished.resume_token:
            more["resume_token"] = str(Place(0, 0, finished.resume_token))
        if text.HasField("activations"):
            more["activations"] = activations(text.activations)
    yield f'{"," if index else ""}{{"index":{index},"text":{encoded(text.text)},{encoded(more)[1:-1]},"logprobs":'
    if not text.HasField("character_logprobs"):
        yield "null}"
        return
    has_end = is_scored and finished.finish_reason == pb.FINISH_REASON_END_OF_DOCUMENT
    last = {"tokens": END, "token_logprobs": None, "top_logprobs": None, "text_offset": len(text.text)}
    first = True
    for name, column in _columns(text.text, text.character_logprobs, 0):
        yield f'{"{" if first else ","}"{name}":'
        first = False
        if name == "top_logprobs" and not text.character_logprobs.alternatives_per_character:
            yield "null"
            continue
        ends = encoded(last[name]) if has_end else ""
        yield from _array(column, len(text.text), ends)
    yield "}}"


def _array(column: Callable[[int, int], list[Any] | None], count: int, last: str = "") -> Pieces:
    yield "["
    for start in range(0, count, _PIECE):
        yield ("," if start else "") + encoded(column(start, min(count, start + _PIECE)))[1:-1]
    if last:
        yield ("," if count else "") + last
    yield "]"


def _columns(
    text: str, message: pb.CharacterLogprobs, offset: int
) -> list[tuple[str, Callable[[int, int], list[Any] | None]]]:
    """The columns of OpenAI's log-probabilities, each as a function of the characters from one to another."""
    per = message.alternatives_per_character
    alternatives = message.alternatives

    def top(start: int, end: int) -> list[Any] | None:
        if not per:
            return None
        probabilities = message.alternative_logprobs[start * per : end * per]
        own = message.logprobs[start:end]
        found = []
        for place in range(start, end):
            first = (place - start) * per
            names = alternatives[place * per : (place + 1) * per]
            entry = {
                END if name == _BOUNDARY else name: _finite(value)
                for name, value in zip(names, probabilities[first : first + per], strict=True)
                if name != _NO_CHARACTER
            }
            entry.setdefault(text[place], _finite(own[place - start]))
            found.append(entry)
        return found

    return [
        ("tokens", lambda start, end: list(text[start:end])),
        ("token_logprobs", lambda start, end: [_finite(value) for value in message.logprobs[start:end]]),
        ("top_logprobs", top),
        ("text_offset", lambda start, end: list(range(offset + start, offset + end))),
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def scores(answers: Sequence[pb.ScoreResponse]) -> Pieces:
    """The scores of texts."""
    first = answers[0]
    beginning = {
        "id": f"score-{first.request_id}",
        "object": "score",
        "created": int(time.time()),
        "model": first.model,
        "model_digest": first.model_digest,
    }
    yield encoded(beginning)[:-1] + ',"scores":['
    for number, answer in enumerate(answers):
        more: dict[str, object] = {
            "text": answer.text,
            "total_logprob": _finite(answer.total_logprob),
            "bits_per_character": _finite(answer.bits_per_character),
        }
        if answer.HasField("activations"):
            more["activations"] = activations(answer.activations)
        yield ("," if number else "") + encoded(more)[:-1] + ',"characters":'
        yield from _array(_characters(answer), len(answer.text))
        yield "}"
    yield "]}"


def _characters(answer: pb.ScoreResponse) -> Callable[[int, int], list[Any]]:
    text, message = answer.text, answer.character_logprobs
    per = message.alternatives_per_character

    def entries(start: int, end: int) -> list[Any]:
        found: list[dict[str, Any]] = [
            {"character": text[start + place], "logprob": _finite(value)}
            for place, value in enumerate(message.logprobs[start:end])
        ]
        if message.ranks:
            ranks, entropies = message.ranks[start:end], message.entropies[start:end]
            for entry, rank, entropy in zip(found, ranks, entropies, strict=True):
                entry |= {"rank": rank, "entropy": entropy}
        if per:
            probabilities = message.alternative_logprobs[start * per : end * per]
            for place, entry in enumerate(found):
                names = message.alternatives[(start + place) * per : (start + place + 1) * per]
                entry["top_logprobs"] = [
                    {"character": END if name == _BOUNDARY else name, "logprob": _finite(value)}
                    for name, value in zip(names, probabilities[place * per : (place + 1) * per], strict=True)
                    if name != _NO_CHARACTER
                ]
        return found

    return entries


def model(message: pb.Model, identifier: str) -> dict[str, Any]:
    """A model."""
    return {
        "id": identifier,
        "object": "model",
        "created": message.load_time.seconds,
        "owned_by": "nextchar",
        **{name: getattr(message, name) for name in _MODEL_FIELDS},
        "replay": "exact" if message.replay == pb.REPLAY_EXACT else "close",
        "alphabet": list(message.alphabet),
    }


def models(message: pb.ListModelsResponse) -> dict[str, Any]:
    """All models: the first version of each by its name, and the others as NAME@DIGEST."""
    entries, names = [], set()
    for each in message.models:
        entries.append(model(each, f"{each.name}@{each.digest[:16]}" if each.name in names else each.name))
        names.add(each.name)
    return {"object": "list", "data": entries}
