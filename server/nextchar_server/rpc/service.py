"""The service: where the protocol, text and streams of ids meet.

Last stage of the flow before the client. Each method: convert in, submit, convert out.

What always holds: everything that can be wrong with a request is said before its first message; a stream's row is
freed however its call ends; ``Generate`` gives what ``GenerateStream`` gives, put together.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.decoder import max_ids

from ..catalog import ServedModel, ServedModels
from ..engine.stream import Chunk, End, Stream
from ..metrics import Metrics
from ..text import CharacterLogprob, Characters, Piece, TextBuilder
from . import requests
from .errors import DrainingError
from .interceptor import Context, request_id

_LAST_WORDS = 1.0
"""Seconds that ended streams get to tell their readers so."""

_FINISH_REASONS = {
    End.COUNT: pb.FINISH_REASON_MAX_CHARACTERS,
    End.BOUNDARY: pb.FINISH_REASON_END_OF_DOCUMENT,
    End.DRAINED: pb.FINISH_REASON_DRAINING,
}


class GenerationService(generation_pb2_grpc.GenerationServiceServicer):
    """``nextchar.v1.GenerationService``."""

    def __init__(self, models: ServedModels, metrics: Metrics) -> None:
        self._models = models
        self._metrics = metrics
        self._calls = 0
        self._draining = False
        self._patience: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        """Answers with the whole text."""
        response = pb.GenerateResponse()

        async def gather(event: pb.GenerateStreamResponse) -> None:
            if event.HasField("delta"):
                response.text += event.delta.text
                response.logprobs.extend(event.delta.logprobs)
            else:
                response.MergeFrom(pb.GenerateResponse(started=event.started, finished=event.finished))

        await self._generate(request, gather)
        return response

    async def GenerateStream(self, request: pb.GenerateStreamRequest, context: Context) -> None:
        """Streams the text as it comes."""
        await self._generate(request, context.write)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Scores a text."""
        model = self._models.get(request.model)
        scoring = requests.scoring(request, model.alphabet, model.limits)
        stream = Stream(read=scoring.text.ids, count=0, alternatives=scoring.top_logprobs, reports_reading=True)
        chunk = Chunk()
        with self._submitted(model, stream):
            while isinstance(taken := await model.engine.take(stream), Chunk):
                chunk.extend(taken)
        if taken is End.DRAINED:
            raise DrainingError
        self._metrics.prompt_characters.labels(model.name).inc(len(scoring.text.text))
        total = math.fsum(chunk.logprobs)
        characters = Characters(model.alphabet)
        piece = characters.feed(chunk).joined(characters.flush())
        return pb.ScoreResponse(
            request_id=request_id(),
            model=model.name,
            model_digest=model.runner.digest,
            characters=map(_logprob_message, piece.logprobs),
            total_logprob=total,
            bits_per_character=-total / math.log(2) / len(scoring.text.text),
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Describes one model."""
        return pb.GetModelResponse(model=self._models.message(self._models.get(request.name)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Describes every model."""
        return pb.ListModelsResponse(models=map(self._models.message, self._models))

    async def drain(self, patience: float) -> None:
        """Turns new texts away, and gives the running ones ``patience`` seconds before it ends them."""
        self._draining = True
        try:
            async with asyncio.timeout(patience) as self._patience:
                await self._idle.wait()
        except TimeoutError:
            for model in self._models:
                model.engine.drain()
            with suppress(TimeoutError):  # a reader that reads nothing does not hold the server
                await asyncio.wait_for(self._idle.wait(), _LAST_WORDS)

    def hurry(self) -> None:
        """Ends the patience of ``drain``, where it waits."""
        if self._patience is not None and not self._patience.expired() and not self._idle.is_set():
            self._patience.reschedule(asyncio.get_running_loop().time())

    @contextmanager
    def _submitted(self, model: ServedModel, stream: Stream) -> Iterator[None]:
        """Surrounds the life of a stream."""
        if self._draining:
            raise DrainingError
        model.engine.submit(stream)
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            model.engine.release(stream)
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()

    async def _generate(
        self,
        request: pb.GenerateRequest | pb.GenerateStreamRequest,
        send: Callable[[pb.GenerateStreamResponse], Awaitable[None]],
    ) -> None:
        """Sends the events of a text."""
        arrived = time.monotonic()
        model = self._models.get(request.model)
        generation = requests.generation(request, model.alphabet, model.limits)
        stream = Stream(
            read=generation.prompt.ids,
            count=max_ids(model.alphabet, generation.max_characters),
            settings=generation.settings,
            seed=generation.seed,
            alternatives=generation.top_logprobs,
            reports_reading=generation.echo,
        )
        builder = TextBuilder(
            model.alphabet, generation.max_characters, generation.stop_sequences, generation.include_stop_sequence
        )
        prompt = Characters(model.alphabet)
        times = _Times(self._metrics, model.name, arrived)
        offset = 0

        async def send_piece(piece: Piece) -> None:
            nonlocal offset
            if piece.text:
                logprobs = map(_logprob_message, piece.logprobs)
                await send(pb.GenerateStreamResponse(delta=pb.Delta(text=piece.text, offset=offset, logprobs=logprobs)))
                offset += len(piece.text)

        with self._submitted(model, stream):
            await send(
                pb.GenerateStreamResponse(
                    started=pb.Started(
                        request_id=request_id(),
                        model=model.name,
                        model_digest=model.runner.digest,
                        seed=generation.seed,
                    )
                )
            )
            echo_left = len(generation.prompt.ids) if generation.echo else 0
            end = End.COUNT
            while not builder.is_complete:
                taken = await model.engine.take(stream)
                if isinstance(taken, End):
                    end = taken
                    before, piece = builder.generated, builder.end(broken_off=end is End.DRAINED)
                else:
                    echoed, generated = taken.split(echo_left)
                    if echo_left:
                        echo_left -= len(echoed.ids)
                        await send_piece(prompt.feed(echoed))
                        if not echo_left:
                            await send_piece(prompt.flush())
                    before, piece = builder.generated, builder.feed(generated)
                times.came(builder.generated - before, stream)
                await send_piece(piece)
                if isinstance(taken, End):
                    break
            reason = pb.FINISH_REASON_STOP_SEQUENCE if builder.stopped_by else _FINISH_REASONS[end]
            prompt_characters = generation.prompt.characters_in(stream.read_count)
            self._metrics.prompt_characters.labels(model.name).inc(prompt_characters)
            self._metrics.finished.labels(model.name, pb.FinishReason.Name(reason)).inc()
            await send(
                pb.GenerateStreamResponse(
                    finished=pb.Finished(
                        finish_reason=reason,
                        stop_sequence=builder.stopped_by,
                        usage=pb.Usage(prompt_characters=prompt_characters, generated_characters=builder.generated),
                    )
                )
            )


class _Times:
    """Observes when the characters of one text came."""

    def __init__(self, metrics: Metrics, model: str, arrived: float) -> None:
        self._metrics = metrics
        self._model = model
        self._arrived = arrived
        self._last: float | None = None

    def came(self, characters: int, stream: Stream) -> None:
        """So many characters of ``stream`` came now."""
        if not characters:
            return
        now = time.monotonic()
        if self._last is None:
            assert stream.admitted_at is not None
            self._metrics.queue_seconds.labels(self._model).observe(stream.admitted_at - self._arrived)
            self._metrics.first_character_seconds.labels(self._model).observe(now - self._arrived)
        else:
            self._metrics.inter_character_seconds.labels(self._model).observe((now - self._last) / characters)
        self._last = now
        self._metrics.generated_characters.labels(self._model).inc(characters)


def _logprob_message(entry: CharacterLogprob) -> pb.CharacterLogprob:
    return pb.CharacterLogprob(
        character=entry.character,
        logprob=entry.logprob,
        alternatives=[
            pb.AlternativeCharacter(character=character, logprob=logprob) for character, logprob in entry.alternatives
        ],
    )
