"""The client: calls a server, for programs that run an event loop.

Options become a request, the request a call, and the messages of its answer plain values. What always holds: a call
that is left, cancelled or failed is over on the server too; and every failure is a ``NextcharError``.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator, Awaitable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

from . import conversion
from .errors import IncompleteStreamError, InvalidArgumentError, error_of_call
from .options import GenerationOptions, UnknownCharacters
from .results import Event, Finished, Generation, Health, Model, Score

DEFAULT_ENDPOINT = "127.0.0.1:50051"

SERVICE_CONFIG = {
    # All addresses that the endpoint resolves to take turns, and one that is gone is left out.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            # Not the health service: who asks for the state of a server wants it as it is.
            "name": [{"service": "nextchar.v1.GenerationService"}],
            "retryPolicy": {
                # A call is tried again while the server has sent nothing of it yet, not even headers: generating has no
                # other effect. A server may set the pause, or forbid the retry, in `grpc-retry-pushback-ms`.
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
            },
        }
    ],
}
"""How gRPC itself balances and retries: https://github.com/grpc/grpc/blob/master/doc/service_config.md."""

# Without a port gRPC would silently take 443, and it takes an unknown scheme for a host's name.
_ENDPOINT = re.compile(r"unix(-abstract)?:.+|(dns:(//[^/]*/)?|ipv4:|ipv6:)?[^/]+:\d+")

T = TypeVar("T")


def open_channel(endpoint: str, *options: tuple[str, Any]) -> grpc.aio.Channel:
    """A channel to ``endpoint`` with ``SERVICE_CONFIG`` and further options of gRPC.

    Raises ``InvalidArgumentError`` for an endpoint that is none.
    """
    if not _ENDPOINT.fullmatch(endpoint):
        raise InvalidArgumentError(
            f"endpoint: {endpoint!r} is not HOST:PORT, nor a gRPC target such as dns:///HOST:PORT"
        )
    asyncio.get_running_loop()  # outside a loop gRPC would bind the channel to one that never runs
    return grpc.aio.insecure_channel(endpoint, options=[("grpc.service_config", json.dumps(SERVICE_CONFIG)), *options])


class AsyncClient:
    """A client of one server, or of several that share an endpoint.

    ``endpoint`` is HOST:PORT or another target of gRPC, such as ``dns:///nextchar:50051`` or
    ``ipv4:10.0.0.1:50051,10.0.0.2:50051``; where it resolves to several addresses, calls take turns. ``timeout`` is
    the seconds that a call may take unless it brings its own; None is any time.

    Make and use it inside one running event loop, with ``async with`` or ``close``. Raises ``InvalidArgumentError``
    for an endpoint or timeout that is none. Every call raises ``NextcharError`` where it fails.
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
        """Ends all calls and the connection."""
        await self._channel.close()

    async def stream(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> AsyncGenerator[Event, None]:
        """Generates the text after ``prompt`` and gives it as it comes; ``GenerationOptions`` names the keywords.

        One ``Started``, any number of ``Delta``, one ``Finished``. An empty prompt is the start of a document. Leaving
        early cancels the call: at once under ``contextlib.aclosing``, or else when the generator is collected. Raises
        ``IncompleteStreamError`` where the stream ends without ``Finished``.
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
            call.cancel()  # the server goes on generating for a stream that is merely left
        if not finished:
            raise IncompleteStreamError("the stream ended without its last event: the text may be cut")

    async def generate(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Generation:
        """Generates the text after ``prompt`` and gives it whole; ``GenerationOptions`` names the keywords.

        The same request gives the same text as ``stream``. An empty prompt is the start of a document.
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
        """Gives the log-probability of each character of ``text``, each given all before it.

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
        """Describes one model; an empty name is the default one."""
        request = pb.GetModelRequest(name=name)
        call = self._generation.GetModel(request, timeout=self._seconds(timeout))
        return conversion.model((await _answer(call)).model)

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Describes every model of the server, the default one first."""
        call = self._generation.ListModels(pb.ListModelsRequest(), timeout=self._seconds(timeout))
        return tuple(conversion.model(model) for model in (await _answer(call)).models)

    async def health(self, service: str = "", *, timeout: float | None = None) -> Health:
        """Asks grpc.health.v1 whether the server, or one service of it, takes calls; it does not retry."""
        request = health_pb2.HealthCheckRequest(service=service)
        return conversion.health(await _answer(self._health.Check(request, timeout=self._seconds(timeout))))

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else _checked(timeout)


async def _answer(call: Awaitable[T]) -> T:
    """The answer of a unary call."""
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise error_of_call(failure) from failure


def _checked(timeout: float | None) -> float | None:
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise InvalidArgumentError(f"timeout: {timeout!r} is not a number of seconds above 0")
    return timeout
