"""The service: where the protocol, text and streams of ids meet.

Last stage of the flow before the client. Each method converts the request, submits a stream, and converts the result.

Invariant: an invalid request is refused before the first message; a stream's row is freed however its call
ends; ``Generate`` returns the events of ``GenerateStream``, joined.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

from ..catalog import Catalog, ServedModel
from ..engine.stream import End, IdChunk, Stream
from ..metrics import Metrics
from ..text import Characters
from . import requests, responses
from .errors import DrainingError
from .generation import RunningText, Send
from .interceptor import Context, request_id

_LAST_WORDS = 1.0
"""Seconds that drained streams get to send their last event."""


class GenerationService(generation_pb2_grpc.GenerationServiceServicer):
    """``nextchar.v1.GenerationService``."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._calls = 0
        self._draining = False
        self._patience: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        """Returns a whole text."""
        whole = responses.WholeText()
        await self._generate(request, whole.add)
        return whole.response

    async def GenerateStream(self, request: pb.GenerateStreamRequest, context: Context) -> None:
        """Streams a text as it is generated."""
        await self._generate(request, context.write)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Scores a text."""
        model = self._catalog.get(request.model)
        scoring = requests.scoring(request, model.alphabet, model.limits)
        return await self._score(model, scoring)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Describes one model."""
        return pb.GetModelResponse(model=self._describe(self._catalog.get(request.name)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Describes every model."""
        return pb.ListModelsResponse(models=map(self._describe, self._catalog))

    async def drain(self, patience: float) -> None:
        """Refuses new texts, and ends the running ones after ``patience`` seconds if they haven't finished."""
        self._draining = True
        try:
            async with asyncio.timeout(patience) as self._patience:
                await self._idle.wait()
        except TimeoutError:
            for model in self._catalog:
                model.engine.drain()
            with suppress(TimeoutError):  # a caller that doesn't read must not hold up the server
                await asyncio.wait_for(self._idle.wait(), _LAST_WORDS)

    def hurry(self) -> None:
        """Ends the patience of a ``drain`` that is waiting."""
        if self._patience is not None and not self._patience.expired() and not self._idle.is_set():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _generate(self, request: pb.GenerateRequest | pb.GenerateStreamRequest, send: Send) -> None:
        model = self._catalog.get(request.model)
        text = RunningText(request, model, self._metrics, send)
        with self._submitted(model, text.stream):
            await text.run()

    async def _score(self, model: ServedModel, scoring: requests.Scoring) -> pb.ScoreResponse:
        stream = Stream(read=scoring.text.ids, count=0, alternatives=scoring.top_logprobs, reports_reading=True)
        chunk = IdChunk()
        with self._submitted(model, stream):
            while isinstance(taken := await model.engine.take(stream), IdChunk):
                chunk.extend(taken)
        if taken is End.DRAINED:
            raise DrainingError
        length = len(scoring.text.text)
        self._metrics.prompt_characters.labels(model.name).inc(length)
        characters = Characters(model.alphabet)
        text = characters.feed(chunk).joined(characters.flush())
        return responses.score(request_id(), model, length, text, math.fsum(chunk.logprobs))

    def _describe(self, model: ServedModel) -> pb.Model:
        return responses.model(model, is_default=model is self._catalog.default)

    @contextmanager
    def _submitted(self, model: ServedModel, stream: Stream) -> Iterator[None]:
        """Submits ``stream`` on entry and releases it on exit."""
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
