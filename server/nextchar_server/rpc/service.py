"""The service: where the protocol, text and streams of ids meet.

Last stage of the flow before the client. Each method converts the request, submits a stream, and converts the result.

Invariant: an invalid request is refused before the first message; a stream's row is freed however its call
ends; ``Generate`` returns the events of ``GenerateStream``, joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc

from .. import memory
from ..catalog import Catalog, ServedModel, UnknownModelError
from ..engine.admission import PushedOutError, QueueFullError
from ..engine.stream import Stream
from ..metrics import Metrics
from ..pacing import Pacer
from ..returns import tries
from . import activations, facts, footprint, requests, responses, samples
from .complete import complete
from .constraints import Constraints
from .errors import DrainingError, LostPlaceError, OverloadedError
from .generation import RunningText
from .interceptor import Context, request_id
from .rescore import rescore
from .score import score
from .score_stream import score_stream
from .streams import most_snapshots
from .tokens import Tokens, digest_of

_Out = TypeVar("_Out", responses.StreamedText, responses.WholeText)
_Description = TypeVar("_Description", pb.GetModelResponse, pb.ListModelsResponse)

LAST_WORDS = 0.8
"""Seconds that drained streams get to send their last event."""


class GenerationService(generation_pb2_grpc.GenerationServiceServicer):
    """``nextchar.v1.GenerationService``."""

    def __init__(self, catalog: Catalog, metrics: Metrics, pacer: Pacer, tokens: Tokens) -> None:
        self._catalog = catalog
        self._tokens = tokens
        self._pacer = pacer
        self._constraints = Constraints(metrics)
        self._calls = 0
        self._draining = False
        self._patience: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        """Returns a whole text, or several."""
        if (wanted := samples.wanted(request)) is not None:
            return await self._samples(request, wanted, context)
        whole = await self._generate(request, context, responses.WholeText)
        return await self._pacer.run(whole.response())

    async def GenerateStream(self, request: pb.GenerateStreamRequest, context: Context) -> None:
        """Streams a text as it is generated."""
        await self._generate(request, context, lambda _: responses.StreamedText(context.write))

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Scores a text."""
        with self._model(request.model) as model:
            return await score(request, model, self._pacer, lambda stream: self._submitted(model, stream, context))

    async def ScoreStream(self, messages: AsyncGenerator[pb.ScoreStreamRequest, None], context: Context) -> None:
        """Scores texts of any length while they come."""
        await score_stream(messages, context, self._model, self._pacer, self._submitted)

    async def Rescore(self, request: pb.RescoreRequest, context: Context) -> pb.RescoreResponse:
        """Scores several texts that follow one prefix."""
        with self._model(request.model) as model:
            return await rescore(request, model, self._pacer, lambda stream: self._submitted(model, stream, context))

    async def Complete(self, request: pb.CompleteRequest, context: Context) -> pb.CompleteResponse:
        """Returns the likeliest continuations of a text."""
        with self._model(request.model) as model:
            return await complete(
                request, model, self._pacer, self._constraints, lambda stream: self._submitted(model, stream, context)
            )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Describes one model."""
        model = self._catalog.get(request.name)
        facts.current.get().begin(model.name)
        return _held(model.answer)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Describes every model."""
        return _held(self._catalog.listing)

    def model(self, name: str) -> pb.Model | None:
        """Returns the description of a model; None if there is no such model. For any thread."""
        try:
            return self._catalog.get(name).answer.model
        except UnknownModelError:
            return None

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
                await asyncio.wait_for(self._idle.wait(), LAST_WORDS)

    def hurry(self) -> None:
        """Ends the patience of a ``drain`` that is waiting."""
        if self._patience is not None and not self._patience.expired() and not self._idle.is_set():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _generate(
        self,
        request: pb.GenerateRequest | pb.GenerateStreamRequest,
        context: Context,
        make_out: Callable[[requests.Generation], _Out],
    ) -> _Out:
        with self._model(request.model, digest_of(request.resume_token)) as model:
            generation = await self._read(request, model)
            memory.current.get().grow(_footprint(generation, model, is_whole=isinstance(request, pb.GenerateRequest)))
            out = make_out(generation)
            text = RunningText(generation, model, self._pacer, self._tokens, out)
            with self._submitted(model, text.stream, context):
                await text.run()
        return out

    async def _samples(
        self, request: pb.GenerateRequest, wanted: samples.Wanted, context: Context
    ) -> pb.GenerateResponse:
        with self._model(request.model, digest_of(request.resume_token)) as model:
            generation = await self._read(request, model)
            texts = samples.Samples(wanted, generation, model, self._pacer)
            with self._submitted(model, texts.lead, context):
                await texts.run()
        return await self._pacer.run(texts.response())

    def _model(self, name: str, digest: str = "") -> ServedModel:
        """Returns the model of the call that is being handled. Raises ``RequestError``."""
        model = self._catalog.get(name, request_id(), digest)
        facts.current.get().begin(model.name)
        return model

    async def _read(
        self, request: pb.GenerateRequest | pb.GenerateStreamRequest, model: ServedModel
    ) -> requests.Generation:
        """Reads a request to generate, and compiles its constraint. Raises ``RequestError``."""
        steps = requests.generation(
            request, model.alphabet, model.limits, lambda token: self._tokens.read(token, model)
        )
        generation = await self._constraints.constrained(await self._pacer.run(steps), model)
        return activations.chosen_for(request, generation, model)

    @contextmanager
    def _submitted(self, model: ServedModel, stream: Stream, context: Context) -> Iterator[None]:
        """Submits ``stream`` on entry and releases it on exit."""
        if self._draining:
            raise DrainingError
        returns = model.returns
        admission = model.engine.admission_of(stream)
        try:
            # If none is free, the admission decides: it may take one from a connection that holds more.
            may_be_kept = admission.free and returns.are_expected() and not admission.is_owed(stream.caller)
            if may_be_kept and returns.keeps(admission.free, tries(context)):
                raise QueueFullError(admission.held)
            model.engine.submit(stream)
        except QueueFullError as error:
            raise OverloadedError(str(error), returns.delay()) from None
        self._calls += 1
        self._idle.clear()
        try:
            yield
        except PushedOutError as error:
            raise LostPlaceError(str(error), returns.delay()) from None
        finally:
            facts.current.get().leave(stream.admitted_at)
            model.engine.release(stream)
            returns.freed()
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()


def _footprint(generation: requests.Generation, model: ServedModel, *, is_whole: bool) -> int:
    """Returns the most memory, in bytes, that a text takes beside its request."""
    top_logprobs = generation.top_logprobs
    text = footprint.answer(generation.most_characters, top_logprobs) if is_whole else footprint.stream(top_logprobs)
    snapshots = footprint.snapshots(model.runner.description, most_snapshots(generation, model))
    return footprint.row(model.runner.description) + snapshots + text


def _held(answer: _Description) -> _Description:
    """Takes the memory of a description, which is about to be sent."""
    memory.current.get().grow(footprint.description(answer.ByteSize()))
    return answer
