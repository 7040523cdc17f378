"""Conversion between the values and the protobuf messages of scoring; beside ``conversion``, on which it builds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from typing import Any, TypeVar

from nextchar.v1 import generation_pb2 as pb

from .conversion import activations, logprobs, request, unknown_characters
from .errors import IncompleteStreamError, InvalidArgumentError
from .options import ScoreOptions, UnknownCharacters
from .results import Score
from .scores import CandidateScore, CandidateScores, ScoredPart, ScoredText, ScoreEvent, ScoreStarted
from .transcript import require_logprobs

Parts = str | Iterable[str] | AsyncIterable[str]
"""A text: whole, or in parts of any size, such as the lines of an open file."""
Texts = Iterable[Parts] | AsyncIterable[Parts]
"""Several texts."""

T = TypeVar("T")

_PART = 2**14  # characters of a message: at most 64 KiB, far below gRPC's limit


def score_request(text: str, *, unknown: UnknownCharacters | None, **fields: object) -> pb.ScoreRequest:
    """The request to score ``text``."""
    return request(pb.ScoreRequest, text=text, unknown_characters=unknown_characters(unknown), **fields)


def rescore_request(
    prefix: str, candidates: Sequence[str], *, unknown: UnknownCharacters | None, **fields: object
) -> pb.RescoreRequest:
    """The request to score ``candidates``, each behind ``prefix``. Raises ``TypeError`` if it is a text."""
    if isinstance(candidates, str):
        raise TypeError("candidates: it must be several texts, not one")
    message = request(pb.RescoreRequest, prefix=prefix, unknown_characters=unknown_characters(unknown), **fields)
    message.MergeFrom(request(pb.RescoreRequest, candidates=candidates))
    return message


def settings(options: ScoreOptions) -> pb.ScoreSettings:
    """The settings of a stream of scores; ``timeout`` isn't part of them."""
    for name in options.keys() - ScoreOptions.__annotations__.keys():
        raise TypeError(f"unexpected keyword argument {name!r}")
    fields: dict[str, Any] = {name: value for name, value in options.items() if name != "timeout"}
    fields["unknown_characters"] = unknown_characters(fields.get("unknown_characters"))
    return request(pb.ScoreSettings, **fields)


async def messages(settings: pb.ScoreSettings, texts: Texts) -> AsyncGenerator[pb.ScoreStreamRequest, None]:
    """The messages of a stream of ``texts``: the settings are in the first.

    Raises ``InvalidArgumentError`` if there is no text.
    """
    first: dict[str, pb.ScoreSettings] = {"settings": settings}
    if isinstance(texts, str):
        raise TypeError("texts: it must be several texts, not one")
    async for text in _each(texts):
        if isinstance(text, str):
            last = max(0, len(text) - 1) // _PART * _PART
            for start in range(0, last + 1, _PART):
                yield request(pb.ScoreStreamRequest, text=text[start : start + _PART], is_end=start == last, **first)
                first = {}
        else:
            async for part in _each(text):
                for start in range(0, len(part), _PART):
                    yield request(pb.ScoreStreamRequest, text=part[start : start + _PART], **first)
                    first = {}
            yield request(pb.ScoreStreamRequest, is_end=True, **first)
            first = {}
    if first:
        raise InvalidArgumentError("texts: there is none to score; give at least one, which may be empty")


def score(message: pb.ScoreResponse) -> Score:
    """How likely the text is, in total and per character. Raises ``IncompleteStreamError`` if a character lacks it."""
    characters = logprobs(message.text, message.character_logprobs)
    if not message.text:
        raise IncompleteStreamError("the answer holds no scored text")
    require_logprobs(message.text, characters)
    return Score(
        request_id=message.request_id,
        model=message.model,
        model_digest=message.model_digest,
        characters=characters,
        total_logprob=message.total_logprob,
        bits_per_character=message.bits_per_character,
        activations=activations(message.text, message.activations),
    )


def candidate_scores(message: pb.RescoreResponse, *, candidates: int, with_logprobs: bool) -> CandidateScores:
    """How likely each candidate is. Raises ``IncompleteStreamError`` if there is another number of ``candidates``."""
    if len(message.scores) != candidates:
        raise IncompleteStreamError(f"the answer holds {len(message.scores)} scores for {candidates} candidates")
    scores = []
    for each in message.scores:
        characters = logprobs(each.text, each.character_logprobs)
        if with_logprobs:
            require_logprobs(each.text, characters)
        scores.append(CandidateScore(each.text, characters, each.total_logprob, each.bits_per_character))
    return CandidateScores(message.request_id, message.model, message.model_digest, tuple(scores))


class Scored:
    """The events of one stream of scores so far, checked: one that ends well has the scores of all its texts.

    ``totals_only`` if the texts come without their parts.
    """

    def __init__(self, *, totals_only: bool) -> None:
        self._totals_only = totals_only
        self.has_started = False
        self.texts = 0
        """Number of texts that were scored whole."""
        self.characters = 0
        """Number of characters that were scored, in all texts."""
        self._offset = 0

    def event(self, message: pb.ScoreStreamResponse) -> ScoreEvent | None:
        """The event in the next message; None if only a newer client knows it.

        Raises ``IncompleteStreamError`` if it can't follow those before it.
        """
        kind = message.WhichOneof("event")
        if kind is not None and (kind == "started") == self.has_started:
            raise IncompleteStreamError(f"the stream of scores has {kind!r} in the wrong place")
        match kind:
            case "started":
                self.has_started = True
                started = message.started
                return ScoreStarted(started.request_id, started.model, started.model_digest)
            case "part":
                text = message.part.text
                part = ScoredPart(self.texts, self._offset, logprobs(text, message.part.character_logprobs))
                require_logprobs(text, part.characters)
                self._offset += len(text)
                self.characters += len(text)
                return part
            case "text":
                return self._text(message.text)
        return None

    def end(self, texts: int) -> None:
        """Raises ``IncompleteStreamError`` unless all of the ``texts`` were scored."""
        if self.texts != texts or self._offset:
            raise IncompleteStreamError(f"the stream ended after the scores of {self.texts} texts of {texts}")

    def _text(self, message: pb.ScoredText) -> ScoredText:
        if self._totals_only:
            self.characters += message.characters
        elif message.characters != self._offset:
            raise IncompleteStreamError(
                f"text {self.texts} has {message.characters} characters, and scores of {self._offset} came"
            )
        text = ScoredText(self.texts, message.characters, message.total_logprob, message.bits_per_character)
        self.texts += 1
        self._offset = 0
        return text


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
