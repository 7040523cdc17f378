"""The client for programs that run an event loop.

Turns options into a request, sends it, and turns the answer's messages into plain values. Invariant: if a
call is left, cancelled or fails, it ends on the server too; and every failure is a ``NextcharError``.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

from . import conversion
from .channel import open_channel
from .endpoint import DEFAULT_ENDPOINT
from .errors import IncompleteStreamError, InvalidArgumentError, NotFoundError, error_of_call
from .options import GenerationOptions, UnknownCharacters
from .results import Event, Finished, Generation, Health, Model, Score

T = TypeVar("T")


class AsyncClient:
    """A client of one server, or of several that share an endpoint.

    ``endpoint`` is HOST:PORT or another gRPC target, such as ``dns:///nextchar:50051`` or
    ``ipv4:10.0.0.1:50051,10.0.0.2:50051``. If it resolves to several addresses, calls take turns. ``timeout`` is the
    time limit of a call in seconds, unless the call sets its own; None means no limit.

    Create and use it inside one running event loop, with ``async with`` or ``close``. Raises ``InvalidArgumentError``
    if the endpoint or timeout is malformed. Every call raises ``NextcharError`` if it fails.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, timeout: float | None = None) -> None:
        self._timeout = _checked(timeout)
        self._channel = open_channel(endpoint)
        self._generation = rpc.GenerationServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated code
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all calls and closes the connection."""
        await self._channel.close()

    async def stream(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> AsyncGenerator[Event, None]:
        """Generates the text that follows ``prompt`` and yields it as it comes; ``GenerationOptions`` has the keywords.

        Yields one ``Started``, any number of ``Delta``, and one ``Finished``. An empty prompt is the start of a
        document. Leaving early cancels the call: at once under ``contextlib.aclosing``, otherwise when the generator
        is collected. Raises ``IncompleteStreamError`` if the stream ends without ``Finished``.
        """
        request = conversion.generation_request(pb.GenerateStreamRequest, prompt, options)
        call = self._generation.GenerateStream(request, timeout=self._seconds(options.get("timeout")))
        finished = False
        try:
            async for message in call:
                event = conversion.event(message)
                if event is not None:
                    finished = isinstance(event, Finished)
                    yield event
        except grpc.aio.AioRpcError as failure:
            raise error_of_call(failure) from failure
        finally:
            call.cancel()  # otherwise the server keeps generating for a reader that left
        if not finished:
            raise IncompleteStreamError("the stream ended without its last event: the text may be cut")

    async def generate(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Generation:
        """Generates the text that follows ``prompt`` and returns it whole; ``GenerationOptions`` has the keywords.

        The same request returns the same text as ``stream``. An empty prompt is the start of a document.
        """
        request = conversion.generation_request(pb.GenerateRequest, prompt, options)
        call = self._generation.Generate(request, timeout=self._seconds(options.get("timeout")))
        return conversion.generation(await _answer(call))

    async def score(
        self,
        text: str,
        *,
        model: str = "",
        top_logprobs: int | None = None,
        unknown_characters: UnknownCharacters | None = None,
        replacement_character: str | None = None,
        timeout: float | None = None,
    ) -> Score:
        """Returns the log-probability of each character of ``text``, each given all characters before it.

        The text starts a document. The keywords mean the same as in ``GenerationOptions``.
        """
        request = conversion.score_request(
            text,
            model=model,
            top_logprobs=top_logprobs,
            unknown_characters=unknown_characters,
            replacement_character=replacement_character,
        )
        return conversion.score(await _answer(self._generation.Score(request, timeout=self._seconds(timeout))))

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Describes one model; an empty name means the server's default model."""
        request = conversion.request(pb.GetModelRequest, name=name)
        call = self._generation.GetModel(request, timeout=self._seconds(timeout))
        return conversion.model((await _answer(call)).model)

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Describes every model of the server, the default one first."""
        call = self._generation.ListModels(pb.ListModelsRequest(), timeout=self._seconds(timeout))
        return tuple(conversion.model(model) for model in (await _answer(call)).models)

    async def health(self, service: str = "", *, timeout: float | None = None) -> Health:
        """Asks grpc.health.v1 whether the server, or one of its services, takes calls. Never retried."""
        request = conversion.request(health_pb2.HealthCheckRequest, service=service)
        try:
            return conversion.health(await _answer(self._health.Check(request, timeout=self._seconds(timeout))))
        except NotFoundError as error:  # gRPC's own health service sends no details
            raise NotFoundError(
                f"the server has no service {service!r}", status=error.status, request_id=error.request_id
            ) from error.__cause__

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else _checked(timeout)


async def _answer(call: Awaitable[T]) -> T:
    """The answer of a unary call; its failure as a ``NextcharError``."""
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise error_of_call(failure) from failure


def _checked(timeout: float | None) -> float | None:
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise InvalidArgumentError(f"timeout: {timeout!r} is invalid; it must be a number of seconds above 0")
    return timeout
