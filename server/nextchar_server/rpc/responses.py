"""Responses: from models, texts and log-probabilities to the protocol's messages.

The counterpart of ``requests``. Every message that the server sends is made here.

Invariant: a message costs a bounded number of Python objects, however many log-probabilities it holds; parts of a whole
answer are collected and joined once, in steps of bounded cost.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb

from ..catalog import Family, LoadFailure, ServedModel
from ..engine.stream import End
from ..pacing import Steps
from ..text.activations import Activations
from ..text.logprobs import Collected, Logprobs
from ..text.text import TextChunk
from .requests import Generation

_LENGTH_DELIMITED = 2  # a wire type of protobuf

_LIGHT = 8192
"""Log-probabilities up to which a message is made in one step."""

FINISH_REASONS = {
    End.COUNT: pb.FINISH_REASON_MAX_CHARACTERS,
    End.BOUNDARY: pb.FINISH_REASON_END_OF_DOCUMENT,
    End.DRAINED: pb.FINISH_REASON_DRAINING,
}


def started(request_id: str, served: ServedModel, seed: int) -> pb.Started:
    """The first event of a text."""
    return pb.Started(
        request_id=request_id,
        model=served.name,
        model_digest=served.digest,
        seed=seed,
        numeric_class=served.replay.numeric_class,
    )


def finished(
    reason: pb.FinishReason,
    stop_sequence: str,
    prompt_characters: int,
    generated_characters: int,
    resume_token: bytes,
) -> pb.Finished:
    """The last event of a text."""
    return pb.Finished(
        finish_reason=reason,
        stop_sequence=stop_sequence,
        usage=pb.Usage(prompt_characters=prompt_characters, generated_characters=generated_characters),
        resume_token=resume_token,
    )


class StreamedText:
    """Turns the events of a text into the messages of a stream, and sends them."""

    __slots__ = ("_begun", "_made", "_write", "offset")

    def __init__(self, write: Callable[[pb.GenerateStreamResponse], Awaitable[None]]) -> None:
        """``write`` sends a message; it waits if the caller reads slowly."""
        self._write = write
        self._made: list[pb.GenerateStreamResponse] = []
        self._begun = 0  # messages that were sent, or are on their way
        self.offset = 0
        """Number of characters before the next delta."""

    def start(self, event: pb.Started) -> None:
        """Adds the first event."""
        self._made.append(pb.GenerateStreamResponse(started=event))

    def add(self, chunk: TextChunk) -> None:
        """Adds more text; nothing if ``chunk`` is empty."""
        if chunk.text:
            message = pb.GenerateStreamResponse()
            message.delta.text = chunk.text
            message.delta.offset = self.offset
            if chunk.logprobs is not None:
                for _ in filled(message.delta.character_logprobs, chunk.logprobs):
                    pass  # a chunk is bounded, so these steps are short
            put_activations(message.delta.activations, chunk.activations)
            self._made.append(message)
            self.offset += len(chunk.text)

    @property
    def is_sent(self) -> bool:
        """Whether no message is left, except one on its way."""
        return self._begun == len(self._made)

    @property
    def ends_with_text(self) -> bool:
        """Whether the latest event that was added is more text."""
        return bool(self._made) and self._made[-1].HasField("delta")

    def mark(self, resume_token: bytes) -> None:
        """Adds the token with which a later request continues after the latest event."""
        self._made[-1].delta.resume_token = resume_token

    def finish(self, event: pb.Finished) -> None:
        """Adds the last event."""
        self._made.append(pb.GenerateStreamResponse(finished=event))

    async def flush(self) -> None:
        """Sends the events that were added since the last flush."""
        for message in self._made:
            self._begun += 1
            await self._write(message)
        self._made.clear()
        self._begun = 0


class WholeText:
    """Collects the events of a text for one response."""

    def __init__(self, generation: Generation) -> None:
        """For the text of ``generation``."""
        self._started = pb.Started()
        self._text: list[str] = []
        self._logprobs = Collected(generation.most_characters)
        self._activations: list[Activations] = []
        self.finished = pb.Finished()
        """The last event, once it has come."""

    def start(self, event: pb.Started) -> None:
        """Adds the first event."""
        self._started = event

    def add(self, chunk: TextChunk) -> None:
        """Adds more text."""
        self._text.append(chunk.text)
        self._logprobs.add(chunk.logprobs)
        if chunk.activations is not None:
            self._activations.append(chunk.activations)

    def finish(self, event: pb.Finished) -> None:
        """Adds the last event."""
        self.finished = event

    is_sent, offset = False, 0
    ends_with_text = False
    """There are no deltas to mark."""

    def mark(self, resume_token: bytes) -> None:
        """Does nothing: only the last event has a token."""

    async def flush(self) -> None:
        """Does nothing: all is sent at once."""

    def response(self) -> Steps[pb.GenerateResponse]:
        """Makes the response of all events, in steps."""
        message = pb.GenerateResponse(started=self._started)
        yield from self.put_into(message)
        put_activations(message.activations, Activations.join(self._activations))
        return message

    def put_into(self, message: pb.GenerateResponse | pb.Sample, *, with_logprobs: bool = True) -> Steps[None]:
        """Puts the text and its end into ``message``, in steps."""
        message.text = "".join(self._text)
        message.finished.CopyFrom(self.finished)
        if with_logprobs:
            yield from filled(message.character_logprobs, self._logprobs.all())

    def logprob_after(self, start: int) -> tuple[float, int]:
        """Returns the log-probability of the characters from ``start`` on, in nats, and their number."""
        logprobs = self._logprobs.all()
        if logprobs is None:
            return 0.0, 0
        own = logprobs.own[start:]
        return float(own.sum(dtype=np.float64)), len(own)


def score(
    request_id: str,
    served: ServedModel,
    text: str,
    logprobs: Collected,
    total: float,
    activations: Activations | None = None,
) -> Steps[pb.ScoreResponse]:
    """Makes the score of ``text`` in steps; ``total`` is the sum of its log-probabilities, in nats."""
    message = pb.ScoreResponse(
        request_id=request_id,
        model=served.name,
        model_digest=served.digest,
        total_logprob=total,
        bits_per_character=bits_per_character(total, len(text)),
        text=text,
    )
    put_activations(message.activations, activations)
    yield from filled(message.character_logprobs, logprobs.all())
    return message


def bits_per_character(nats: float, characters: int) -> float:
    """Returns the bits per character of a text whose log-probability is ``nats``; 0 for an empty one."""
    return -nats / math.log(2) / characters if characters else 0.0


def model(served: ServedModel) -> pb.Model:
    """The description of a version of a model, without its place among the models of the server."""
    description = served.runner.description
    message = pb.Model(
        name=served.name,
        digest=served.digest,
        cell=description.cell,
        layers=description.layers,
        hidden_size=description.hidden_size,
        parameters=description.parameters,
        alphabet_kind=description.alphabet.kind,
        alphabet=description.alphabet.symbols,
        precision=description.precision,
        provider=served.runner.provider,
        numeric_class=served.replay.numeric_class,
        replay=pb.REPLAY_EXACT if served.replay.exact else pb.REPLAY_CLOSE,
        batch_dependent=served.runner.provider == "cuda",
        validation_loss=description.training.validation_loss,
        state_bytes=description.state_bytes,
        max_characters=served.limits.max_characters,
        max_prompt_characters=served.limits.max_prompt_characters,
    )
    message.load_time.FromMilliseconds(round(1000 * served.loaded_at))
    return message


def listing(families: Iterable[Family], failures: Iterable[LoadFailure]) -> pb.ListModelsResponse:
    """Describes the models, the default one first, and the files that could not be loaded.

    Tells the descriptions of the versions their places.
    """
    message = pb.ListModelsResponse()
    for place, family in enumerate(families):
        current = family.current
        for version in family.all:
            described = version.answer.model
            described.is_default = place == 0
            described.is_current = version in current
            described.weight = family.weight(version)
        message.models.extend(version.answer.model for version in sorted(current, key=lambda one: -one.weight))
        message.models.extend(version.answer.model for version in family.kept)
    for failure in failures:
        entry = message.load_failures.add(name=failure.name, reason=failure.reason, message=failure.message)
        entry.tried_time.FromMilliseconds(round(1000 * failure.tried_at))
    return message


def filled(message: pb.CharacterLogprobs, logprobs: Logprobs | None) -> Steps[None]:
    """Puts ``logprobs`` into the empty ``message``, nothing if there are none; in steps if they are many."""
    if logprobs is None:
        return
    is_heavy = logprobs.own.size + logprobs.alternatives.size > _LIGHT
    if is_heavy:
        yield
    message.MergeFromString(_packed(message.LOGPROBS_FIELD_NUMBER, logprobs.own))
    message.alternatives_per_character = logprobs.alternatives.shape[1]
    message.alternatives = logprobs.alternatives.astype("<u4", copy=False).tobytes().decode("utf-32-le")
    if is_heavy:
        yield
    message.MergeFromString(_packed(message.ALTERNATIVE_LOGPROBS_FIELD_NUMBER, logprobs.alternative_logprobs))
    if logprobs.details is not None:
        message.ranks.extend(logprobs.details[:, 0].astype(int).tolist())
        message.MergeFromString(_packed(message.ENTROPIES_FIELD_NUMBER, np.ascontiguousarray(logprobs.details[:, 1])))
    if is_heavy:
        yield  # before gRPC serializes the message


def put_activations(message: pb.Activations, activations: Activations | None) -> None:
    """Puts ``activations`` into the empty ``message``, nothing if there are none: a MiB at most, which is copied."""
    if activations is None or not len(activations.values):
        return
    message.MergeFromString(_packed(message.VALUES_FIELD_NUMBER, activations.values))
    chosen = activations.chosen
    message.MergeFrom(pb.Activations(layer=chosen.layer, units=chosen.units, quantities=chosen.quantities))


def _packed(field: int, values: NDArray[np.float32]) -> bytes:
    """Returns ``values`` as a packed field of a message (https://protobuf.dev/programming-guides/encoding/#packed).

    Parsing this copies them at once, 15 to 30 times as fast as adding a list of Python's floats.
    """
    head, size = bytearray([field << 3 | _LENGTH_DELIMITED]), values.nbytes
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + values.astype("<f4", copy=False).tobytes()
