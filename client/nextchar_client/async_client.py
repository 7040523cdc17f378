"""The client for programs that run an event loop.

Turns options into a request, sends it, again if the server turns it away, and turns the answer's messages into plain
values. Invariant: if a call is left, cancelled or fails, it ends on the server too; every failure is a
``NextcharError``; and a text that isn't whole is a failure.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Self, Unpack

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

from . import conversion
from .channel import open_channel
from .deadline import seconds_of
from .endpoint import DEFAULT_ENDPOINT
from .errors import IncompleteStreamError, InternalError, InvalidArgumentError, NotFoundError, error_of_call
from .fork import Origin, keep_at_fork
from .options import GenerationOptions, UnknownCharacters
from .results import Event, Generation, Health, Model, Score
from .retries import Retries
from .transcript import Transcript, require_logprobs


class AsyncClient:
    """A client of one server, or of several that share an endpoint.

    ``endpoint`` is HOST:PORT or another gRPC target, such as ``dns:///nextchar:50051`` or
    ``ipv4:10.0.0.1:50051,10.0.0.2:50051``. If it resolves to several addresses, calls take turns. ``timeout`` is the
    time limit of a call in seconds, above 0 and at most a year, unless the call sets its own; None means no limit.

    Create and use it inside one running event loop, with ``async with`` or ``close``, and in one process: after a fork
    the child needs a client of its own. Raises ``InvalidArgumentError`` if the endpoint or timeout is malformed. Every
    call raises ``NextcharError`` if it fails, and ``RuntimeError`` if the client is closed or of another process.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, timeout: float | None = None) -> None:
        self._timeout = _checked(timeout)
        self._endpoint = endpoint
        self._origin = Origin()
        self._is_closed = False
        self._channel = open_channel(endpoint)
        self._health_channel: grpc.aio.Channel | None = None  # opened by the first health check
        self._generation = rpc.GenerationServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated code

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._origin.is_here:  # a forked process that leaves with an error keeps its own
            await self.close()

    async def close(self) -> None:
        """Ends all calls and closes the connection."""
        self._origin.require_here()
        self._is_closed = True
        await self._channel.close()
        if self._health_channel is not None:
            await self._health_channel.close()

    async def stream(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> AsyncGenerator[Event, None]:
        """Generates the text that follows ``prompt`` and yields it as it comes; ``GenerationOptions`` has the keywords.

        Yields one ``Started``, any number of ``Delta``, and one ``Finished``. An empty prompt is the start of a
        document. Leaving early cancels the call: at once under ``contextlib.aclosing``, otherwise when the generator
        is collected. Raises ``IncompleteStreamError`` if the events don't make a whole text.
        """
        self._require_usable()
        request = conversion.generation_request(pb.GenerateStreamRequest, prompt, options)
        retries = Retries(self._seconds(options.get("timeout")))
        transcript = Transcript(with_logprobs=options.get("top_logprobs") is not None)
        while True:
            call = keep_at_fork(
                self._generation.GenerateStream(request, timeout=retries.seconds_left, metadata=retries.metadata)
            )
            try:
                async for message in call:
                    event = conversion.event(_readable(message))
                    if event is not None:
                        transcript.add(event)
                        yield event
            except grpc.aio.AioRpcError as failure:
                if not (transcript.is_empty and await retries.pause(failure)):
                    raise error_of_call(failure) from failure
            else:
                transcript.end()
                return
            finally:
                if self._origin.is_here:
                    call.cancel()  # otherwise the server keeps generating for a reader that left

    async def generate(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Generation:
        """Generates the text that follows ``prompt`` and returns it whole; ``GenerationOptions`` has the keywords.

        The same request returns the same text as ``stream``. An empty prompt is the start of a document.
        """
        request = conversion.generation_request(pb.GenerateRequest, prompt, options)
        answer = await self._answer(self._generation.Generate, request, options.get("timeout"))
        if not (answer.HasField("started") and answer.HasField("finished")):
            raise IncompleteStreamError("the answer lacks its first or its last event: the text may be cut")
        generation = conversion.generation(answer)
        if options.get("top_logprobs") is not None:
            require_logprobs(generation.text, generation.logprobs)
        return generation

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
        answer = await self._answer(self._generation.Score, request, timeout)
        score = conversion.score(answer)
        if not answer.text:
            raise IncompleteStreamError("the answer holds no scored text")
        require_logprobs(answer.text, score.characters)
        return score

    async def model(self, name: str = "", *, timeout: float | None = None) -> Model:
        """Describes one model; an empty name means the server's default model."""
        request = conversion.request(pb.GetModelRequest, name=name)
        answer = await self._answer(self._generation.GetModel, request, timeout)
        if not answer.HasField("model"):
            raise InternalError("the answer describes no model")
        return conversion.model(answer.model)

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Describes every model of the server, the default one first."""
        answer = await self._answer(self._generation.ListModels, pb.ListModelsRequest(), timeout)
        return tuple(map(conversion.model, answer.models))

    async def health(self, service: str = "", *, timeout: float | None = None) -> Health:
        """Asks grpc.health.v1 whether the server, or one of its services, takes calls. Never retried."""
        self._require_usable()
        request = conversion.request(health_pb2.HealthCheckRequest, service=service)
        if self._health_channel is None:
            self._health_channel = open_channel(self._endpoint, health_checked=False)
        check = health_pb2_grpc.HealthStub(self._health_channel).Check
        try:
            return conversion.health(_readable(await keep_at_fork(check(request, timeout=self._seconds(timeout)))))
        except grpc.aio.AioRpcError as failure:
            error = error_of_call(failure)
            if isinstance(error, NotFoundError):  # gRPC's own health service sends no details
                raise NotFoundError(
                    f"the server has no service {service!r}", status=error.status, request_id=error.request_id
                ) from failure
            raise error from failure

    async def _answer(self, method: Callable[..., Any], request: Any, timeout: float | None) -> Any:
        """The answer of a unary ``method`` to ``request``, which is sent again if the server turns it away."""
        self._require_usable()
        retries = Retries(self._seconds(timeout))
        while True:
            try:
                call = method(request, timeout=retries.seconds_left, metadata=retries.metadata)
                return _readable(await keep_at_fork(call))
            except grpc.aio.AioRpcError as failure:
                if not await retries.pause(failure):
                    raise error_of_call(failure) from failure

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else _checked(timeout)

    def _require_usable(self) -> None:
        self._origin.require_here()
        if self._is_closed:
            raise RuntimeError("the client is closed")


def _readable(message: Any) -> Any:
    """``message``. Raises ``InternalError`` if it is None, which gRPC passes on in place of one that it can't parse."""
    if message is None:
        raise InternalError("a message of the server can't be parsed")
    return message


def _checked(timeout: float | None) -> float | None:
    try:
        return seconds_of(timeout)
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from None
