"""Responses: from models, texts and log-probabilities to the protocol's messages.

The counterpart of ``requests``. Every message that the server sends is made here.
"""

from __future__ import annotations

import math

from nextchar.v1 import generation_pb2 as pb

from ..catalog import ServedModel
from ..engine.stream import End
from ..text import CharacterLogprob, TextChunk

FINISH_REASONS = {
    End.COUNT: pb.FINISH_REASON_MAX_CHARACTERS,
    End.BOUNDARY: pb.FINISH_REASON_END_OF_DOCUMENT,
    End.DRAINED: pb.FINISH_REASON_DRAINING,
}


def started(request_id: str, served: ServedModel, seed: int) -> pb.GenerateStreamResponse:
    """The first event of a text."""
    return pb.GenerateStreamResponse(
        started=pb.Started(request_id=request_id, model=served.name, model_digest=served.runner.digest, seed=seed)
    )


def delta(chunk: TextChunk, offset: int) -> pb.GenerateStreamResponse:
    """More text; ``offset`` is the number of characters sent before it."""
    logprobs = map(_character_logprob, chunk.logprobs)
    return pb.GenerateStreamResponse(delta=pb.Delta(text=chunk.text, offset=offset, logprobs=logprobs))


def finished(
    reason: pb.FinishReason, stop_sequence: str, prompt_characters: int, generated_characters: int
) -> pb.GenerateStreamResponse:
    """The last event of a text."""
    return pb.GenerateStreamResponse(
        finished=pb.Finished(
            finish_reason=reason,
            stop_sequence=stop_sequence,
            usage=pb.Usage(prompt_characters=prompt_characters, generated_characters=generated_characters),
        )
    )


class WholeText:
    """Joins the events of a text into one response."""

    def __init__(self) -> None:
        self.response = pb.GenerateResponse()

    async def add(self, event: pb.GenerateStreamResponse) -> None:
        """Adds the next event."""
        if event.HasField("delta"):
            self.response.text += event.delta.text
            self.response.logprobs.extend(event.delta.logprobs)
        else:
            self.response.MergeFrom(pb.GenerateResponse(started=event.started, finished=event.finished))


def score(
    request_id: str, served: ServedModel, length: int, chunk: TextChunk, total_logprob: float
) -> pb.ScoreResponse:
    """The score of a text of ``length`` characters; ``chunk`` is the whole text, and ``total_logprob`` is in nats.

    ``chunk`` may be longer than the text: the decoder splits endless combining marks.
    """
    return pb.ScoreResponse(
        request_id=request_id,
        model=served.name,
        model_digest=served.runner.digest,
        characters=map(_character_logprob, chunk.logprobs),
        total_logprob=total_logprob,
        bits_per_character=-total_logprob / math.log(2) / length,
    )


def model(served: ServedModel, *, is_default: bool) -> pb.Model:
    """The description of a model."""
    description = served.runner.description
    return pb.Model(
        name=served.name,
        digest=served.runner.digest,
        is_default=is_default,
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


def _character_logprob(entry: CharacterLogprob) -> pb.CharacterLogprob:
    return pb.CharacterLogprob(
        character=entry.character,
        logprob=entry.logprob,
        alternatives=[
            pb.AlternativeCharacter(character=character, logprob=logprob) for character, logprob in entry.alternatives
        ],
    )
