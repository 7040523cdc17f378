"""A text that may take several calls: the part that has come, the request that continues it, and how the parts join.

Between the messages of the calls and the caller. If a call is cut, the next one starts from the last resume token, or
repeats the request with the seed of the first call and the digest of its model file: the same file, request and seed
give the same text. The part that came before comes again then, is compared, and is left out.
Invariant: the caller sees one ``Started``, deltas that continue each other, and one ``Finished`` with the usage of the
whole; a server that sends other text is a failure, never a silent splice.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import grpc
import grpc.aio

from nextchar.v1 import generation_pb2 as pb

from .errors import DivergedError, NextcharError, NotFoundError, UnavailableError
from .results import Activations, CharacterLogprob, Delta, Event, Finished, FinishReason, Resumed, Started, Usage
from .transcript import Transcript

_Request = pb.GenerateRequest | pb.GenerateStreamRequest

_DEFAULT_MAX_CHARACTERS = 256  # of the contract; a model that allows fewer refuses the rest, and the token is dropped
_OF_THE_PROMPT = ("seed", "echo", "unknown_characters", "replacement_character")  # have no place beside a token
_SHOWN = 20  # characters of a text in a message
_SHOWN_DIGITS = 12  # of a digest
_TOKEN_KEY, _OFFSET_KEY = "resume-token-bin", "resume-offset"
# Statuses of a server that can't use a token: of another key, of another model or version, or of any version.
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}


class CutError(Exception):
    """This call doesn't continue the text, although it didn't fail; another one may.

    ``otherwise`` is the error for the caller if none does.
    """

    def __init__(self, otherwise: NextcharError) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise


@dataclass(frozen=True)
class _Mark:
    """A token, and the number of characters of the text before the place from which it continues."""

    token: bytes
    place: int


class Continuation:
    """The text that ``request`` asks for, as far as it has come."""

    def __init__(self, request: _Request) -> None:
        parameters = request.parameters
        self._asked = request
        self._with_logprobs = parameters.HasField("top_logprobs")
        self._with_activations = parameters.HasField("include_activations")
        self._most = parameters.max_characters if parameters.HasField("max_characters") else _DEFAULT_MAX_CHARACTERS
        self._prompt = len(unicodedata.normalize("NFC", request.prompt))
        self._echoed = self._prompt if parameters.echo else 0
        # Only the server knows how many characters it skipped, so such a request is always repeated.
        self._takes_tokens = parameters.unknown_characters != pb.UNKNOWN_CHARACTERS_SKIP
        self._started: Started | None = None
        self._parts: list[str] = []
        self._length = 0  # of all parts, in characters
        self._logprobs = array("q")  # a hash per character: the values themselves would take too much memory
        self._mark: _Mark | None = None
        self.resumed: Resumed | None = None
        """To be told to the caller before the first new event of this call; the reader of it sets it to None."""
        self.is_whole = False
        """Whether the last event of the text has come; a failure after it takes nothing from the text."""
        self._drained: Finished | None = None  # the last event of a server that drained, if nothing came since
        self._names_version = True  # whether the next call that begins again asks for the version that began the text
        self._begin_call()

    def next_request(self) -> _Request:
        """The request of the next call."""
        self._begin_call()
        if self._started is None:
            return self._asked
        request = deepcopy(self._asked)
        if self._mark is not None:
            request.resume_token = self._mark.token
            for name in _OF_THE_PROMPT:
                request.parameters.ClearField(name)
            request.parameters.max_characters = self._left(self._mark.place)
            generated = self._most - request.parameters.max_characters
            if request.parameters.HasField("min_characters"):
                request.parameters.min_characters = max(0, request.parameters.min_characters - generated)
        elif request.WhichOneof("start") != "resume_token":  # a token chooses the version by itself
            request.parameters.seed = self._started.seed
            if self._names_version and self._started.model and self._started.model_digest:
                request.model = f"{self._started.model}@{self._started.model_digest}"
        return request

    def take(self, event: Event) -> Event | None:
        """Adds the next event of the call, and returns the event for the caller, if there is one.

        Raises ``CutError`` if this server can't continue the text or doesn't end it, ``DivergedError`` if it sends
        other text, ``IncompleteStreamError`` if the event can't follow those before it.
        """
        self._transcript.add(event)
        match event:
            case Started():
                return self._begin(event)
            case Delta():
                return self._extend(event)
            case Finished():
                return self._finish(event)
        return None

    def end(self) -> None:
        """Raises ``IncompleteStreamError`` if the call ended without its last event."""
        self._transcript.end()

    @property
    def has_begun(self) -> bool:
        """Whether an event of any call has come."""
        return self._started is not None

    @property
    def is_running(self) -> bool:
        """Whether an event of the current call has come."""
        return not self._transcript.is_empty

    @property
    def has_grown(self) -> bool:
        """Whether the current call brought new text."""
        return self._length > self._grown_from

    def drops_token(self, failure: grpc.aio.AioRpcError) -> bool:
        """Whether ``failure`` is the refusal of a token that came with this text; the next call does without it."""
        if self._mark is None or self.is_running or failure.code() not in _REFUSALS:
            return False
        self._mark = None
        return True

    def drops_version(self, failure: grpc.aio.AioRpcError) -> bool:
        """Whether ``failure`` says that the server lacks the version that began the text, or can't be asked for one.

        The next call asks for the model by its name alone if this one didn't, so that both are tried.
        """
        if self._started is None or self.is_running or failure.code() is not grpc.StatusCode.NOT_FOUND:
            return False
        self._names_version = not self._names_version
        return True

    def keeps_token(self, failure: grpc.aio.AioRpcError) -> bool:
        """Whether ``failure`` brings a token: a server ended the call of a late reader, who may continue from there."""
        trailers = failure.trailing_metadata()
        token, offset = trailers.get(_TOKEN_KEY), str(trailers.get(_OFFSET_KEY))
        if not (isinstance(token, bytes) and offset.isdecimal()):
            return False
        if int(offset) <= self._transcript.characters:
            self._keep(token, self._base + int(offset))
        return True

    def last_event(self, error: NextcharError) -> Finished:
        """Returns the last event for a caller whose text nobody continues, if a draining server sent one.

        Raises ``error`` otherwise.
        """
        if self._drained is not None:
            return self._drained
        if self._started is not None and isinstance(error, NotFoundError):
            model = f"{self._started.model}@{self._started.model_digest[:_SHOWN_DIGITS]}"
            raise DivergedError(
                f"the text was cut after {self._length} characters, and no server has {model}, which began it",
                status=error.status,
                request_id=error.request_id,
            ) from error
        raise error

    def _begin_call(self) -> None:
        self._grown_from = self._length
        self.resumed = None
        self._transcript = Transcript(with_logprobs=self._with_logprobs, with_activations=self._with_activations)
        self._known = "".join(self._parts)
        self._parts = [self._known]
        self._start = self._mark
        self._base = 0 if self._mark is None else self._mark.place  # characters of the text before those of the call

    def _begin(self, started: Started) -> Started | None:
        first = self._started
        if first is None:
            self._started = started
            return started
        for name, its, expected in (
            ("the model", started.model_digest[:_SHOWN_DIGITS], first.model_digest[:_SHOWN_DIGITS]),
            ("the numeric class", started.numeric_class, first.numeric_class),
            ("the seed", str(started.seed), str(first.seed)),
        ):
            if its and expected and its != expected:  # servers of an earlier version don't tell their numeric class
                self._names_version = True
                raise CutError(
                    DivergedError(
                        f"the text was cut after {self._length} characters, and the server that should continue it has "
                        f"{name} {its} in place of {expected}",
                        request_id=started.request_id,
                    )
                )
        self.resumed = Resumed(started.request_id, self._length, self._length - self._base)
        return None

    def _extend(self, delta: Delta) -> Delta | None:
        start = self._base + delta.offset
        end = start + len(delta.text)
        if delta.resume_token:
            self._keep(delta.resume_token, end)
        if start < self._length:  # some of it came before this call
            again = min(self._length, end) - start
            self._compare(start, delta.text[:again], delta.logprobs[:again])
            if end <= self._length:
                return None
            delta = replace(
                delta,
                text=delta.text[again:],
                offset=self._length,
                logprobs=delta.logprobs[again:],
                activations=_after(delta.activations, again),
            )
        elif self._base:
            delta = replace(delta, offset=start)
        self._parts.append(delta.text)
        self._length = end
        self._drained = None
        if delta.logprobs:
            self._logprobs.extend(map(hash, delta.logprobs))
        return delta

    def _compare(self, place: int, text: str, logprobs: Sequence[CharacterLogprob]) -> None:
        """Raises ``DivergedError`` if ``text`` or ``logprobs`` differ from those that came at ``place`` before."""
        known = self._known[place : place + len(text)]
        if text != known:
            same = next(n for n, (its, ours) in enumerate(zip(text, known, strict=True)) if its != ours)
            raise DivergedError(
                f"the server that continues the text has {text[same : same + _SHOWN]!r} at character {place + same} "
                f"in place of {known[same : same + _SHOWN]!r}"
            )
        if array("q", map(hash, logprobs)) != self._logprobs[place : place + len(logprobs)]:
            raise DivergedError(
                "the server that continues the text has other log-probabilities "
                f"between characters {place} and {place + len(text)}"
            )

    def _finish(self, finished: Finished) -> Finished:
        end = self._base + self._transcript.characters
        if finished.finish_reason is FinishReason.DRAINING:
            self._keep(finished.resume_token, end)
            if end >= self._length:  # otherwise the caller has more than this server had to say
                self._drained = self._with_whole_usage(finished)
            raise CutError(UnavailableError("the server is shutting down and cut the text"))
        if end < self._length:
            raise DivergedError(
                f"the server that continues the text ends it after {end} characters; {self._length} had come before"
            )
        self.is_whole = True
        return self._with_whole_usage(finished)

    def _with_whole_usage(self, finished: Finished) -> Finished:
        if self._start is None:
            return finished
        generated = self._start.place - self._echoed + finished.usage.generated_characters
        return replace(finished, usage=Usage(finished.usage.prompt_characters + self._prompt, generated))

    def _left(self, place: int) -> int:
        """How many characters may still be generated after ``place``."""
        return self._most - (place - self._echoed)

    def _keep(self, token: bytes, place: int) -> None:
        """Keeps ``token``, which continues the text from ``place``, if a call can start from it and none is later."""
        is_later = self._mark is None or place > self._mark.place
        if token and self._takes_tokens and is_later and place >= self._echoed and self._left(place) > 0:
            self._mark = _Mark(token, place)


def _after(activations: Activations | None, count: int) -> Activations | None:
    """Returns ``activations`` without those of the first ``count`` characters."""
    return None if activations is None else replace(activations, values=activations.values[count:])
