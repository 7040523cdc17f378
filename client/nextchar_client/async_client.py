"""The client for programs that run an event loop.

Turns options into a request, sends it, again if a server turns it away or is lost, and turns the answers' messages into
plain values. Invariant: if a call is left, cancelled or fails, it ends on the server too; every failure is a
``NextcharError``; and a text that isn't whole is a failure.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from dataclasses import replace
from itertools import chain
from typing import Any, Unpack

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb

from . import conversion
from .completing import Completing
from .connection import readable
from .continuation import Continuation, CutError
from .errors import InternalError, NotFoundError
from .fork import keep_at_fork
from .options import GenerationOptions
from .replicas import Replicas
from .results import Delta, Event, Finished, Generation, Health, LoadFailure, Model, Started
from .retries import Retries
from .sampling import Sampling
from .scoring import Scoring


class AsyncClient(Completing, Sampling, Scoring):
    """A client of one server, or of several that have the same models.

    ``endpoint`` is HOST:PORT, with TLS ``grpcs://HOST:PORT``, or another gRPC target, such as
    ``dns:///nextchar:50051``; or several of them, in a sequence or with commas between them. Calls take turns over
    them, and over the addresses to which one resolves. If a server fails, another one continues its calls. ``timeout``
    is the time limit of a call in seconds, above 0 and at most a year, unless the call sets its own; None means no
    limit. ``AccessOptions`` has the keywords for TLS and for the caller's token.

    Create and use it inside one running event loop, with ``async with`` or ``close``, and in one process: after a fork
    the child needs a client of its own. Raises ``InvalidArgumentError`` if an argument is malformed, a file can't be
    used, or the token would leave this machine in plaintext. Every call raises ``NextcharError`` if it fails, and
    ``RuntimeError`` if the client is closed or of another process.
    """

    def stream(
        self, prompt: str = "", *, with_resumed: bool = False, **options: Unpack[GenerationOptions]
    ) -> AsyncGenerator[Event, None]:
        """Generates the text that follows ``prompt`` and yields it as it comes; ``GenerationOptions`` has the keywords.

        Yields one ``Started``, any number of ``Delta``, and one ``Finished``; ``with_resumed`` also a ``Resumed``
        whenever another server continues a text that was cut. An empty prompt is the start of a document. Leaving early
        cancels the call: at once under ``contextlib.aclosing``, otherwise when the generator is collected. Raises
        ``IncompleteStreamError`` if the events don't make a whole text, ``DivergedError`` if a cut text can't be
        continued exactly.
        """
        request = conversion.generation_request(pb.GenerateStreamRequest, prompt, options)
        return self._text("GenerateStream", request, self._seconds(options.get("timeout")), with_resumed=with_resumed)

    async def generate(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Generation:
        """Generates the text that follows ``prompt`` and returns it whole; ``GenerationOptions`` has the keywords.

        The same request returns the same text as ``stream``. An empty prompt is the start of a document.
        """
        request = conversion.generation_request(pb.GenerateRequest, prompt, options)
        events = [event async for event in self._text("Generate", request, self._seconds(options.get("timeout")))]
        started, finished = events[0], events[-1]
        assert isinstance(started, Started)
        assert isinstance(finished, Finished)
        deltas = [event for event in events if isinstance(event, Delta)]
        text = "".join(delta.text for delta in deltas)
        logprobs = tuple(place for delta in deltas for place in delta.logprobs)
        activations = deltas[0].activations if deltas else None
        if activations is not None:
            values = tuple(chain.from_iterable(delta.activations.values for delta in deltas if delta.activations))
            activations = replace(activations, values=values)
        return Generation(started, text, logprobs, finished, activations)

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Describes one model; an empty name means the server's default model."""
        request = conversion.request(pb.GetModelRequest, name=name)
        answer = await self._answer("GetModel", request, timeout)
        if not answer.HasField("model"):
            raise InternalError("the answer describes no model")
        return conversion.model(answer.model)

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Describes every model of the server in all its versions, the default one first."""
        answer = await self._answer("ListModels", pb.ListModelsRequest(), timeout)
        return tuple(map(conversion.model, answer.models))

    async def load_failures(self, *, timeout: float | None = None) -> tuple[LoadFailure, ...]:
        """Tells which model files the server could not load, and why."""
        answer = await self._answer("ListModels", pb.ListModelsRequest(), timeout)
        return tuple(map(conversion.load_failure, answer.load_failures))

    async def health(self, service: str = "", *, timeout: float | None = None) -> Health:
        """Asks grpc.health.v1 whether the server, or one of its services, takes calls. Never retried."""
        self._require_usable()
        request = conversion.request(health_pb2.HealthCheckRequest, service=service)
        if self._health is None:
            self._health = Replicas(self._access, health_pb2_grpc.HealthStub, health_checked=False)
        check = self._health.stub().Check
        retries = Retries(self._seconds(timeout))  # keeps the time; there is one try
        try:
            call = check(request, timeout=retries.seconds_left, metadata=self._access.metadata)
            return conversion.health(readable(await keep_at_fork(call)))
        except grpc.aio.AioRpcError as failure:
            error = await self._error(failure, retries)
            if isinstance(error, NotFoundError):  # gRPC's own health service sends no details
                raise NotFoundError(
                    f"the server has no service {service!r}", status=error.status, request_id=error.request_id
                ) from failure
            raise error from failure

    async def _text(
        self,
        method: str,
        request: pb.GenerateRequest | pb.GenerateStreamRequest,
        timeout: float | None,
        *,
        with_resumed: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """The events of the text that ``request`` asks ``method`` for, from as many calls as it takes."""
        retries = Retries(timeout, servers=len(self._servers))
        text = Continuation(request)
        while True:
            self._require_usable()  # it may have been closed during a pause
            call = keep_at_fork(
                getattr(self._servers.stub(), method)(
                    text.next_request(), timeout=retries.seconds_left, metadata=self._metadata(retries)
                )
            )
            try:
                async for message in call if hasattr(call, "__aiter__") else _messages(call):
                    received = conversion.event(readable(message))
                    if received is None or (event := text.take(received)) is None:
                        continue
                    if text.resumed is not None:
                        if with_resumed:
                            yield text.resumed
                        text.resumed = None
                    yield event
                text.end()
                return
            except (grpc.aio.AioRpcError, CutError) as trouble:
                if text.is_whole:
                    return
                if self._is_closed or not await _may_continue(text, retries, trouble):
                    yield text.last_event(await self._error(trouble, retries))
                    return
            finally:
                if self._origin.is_here:
                    call.cancel()  # otherwise the server keeps generating for a reader that left


async def _may_continue(text: Continuation, retries: Retries, trouble: grpc.aio.AioRpcError | CutError) -> bool:
    """Whether another call should continue ``text`` after ``trouble``. Pauses first, if need be."""
    if text.has_grown:
        retries.progressed()
    if isinstance(trouble, CutError):
        return await retries.pause(None)
    if text.drops_token(trouble):
        return True
    if text.is_running:
        return await retries.pause(None if text.keeps_token(trouble) else trouble, is_cut=True)
    if text.drops_version(trouble):
        return await retries.pause(None)
    return await retries.pause(trouble)


async def _messages(call: Awaitable[Any]) -> AsyncGenerator[pb.GenerateStreamResponse, None]:
    """The answer of a unary ``call``, as the messages of a stream."""
    for message in conversion.stream_of(readable(await call)):
        yield message
