"""A real grpc.aio server whose answers a test scripts, for the tests of the client.

It runs its own event loop in its own thread, so asynchronous tests, synchronous tests and other processes all call it
the same way. It listens on a port that the system chooses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

Status = grpc.StatusCode


@dataclass(frozen=True)
class Abort:
    """A step that ends the call with a status; INTERNAL without other trailers has a request id, as all of a server."""

    status: Status
    details: str = "so the script says"
    trailers: tuple[tuple[str, str | bytes], ...] = ()


HANG = object()
"""A step that lasts until the call is cancelled."""

STARTED = pb.GenerateStreamResponse(
    started=pb.Started(request_id="request-1", model="tiny", model_digest="0123456789abcdef", seed=2**64 - 1)
)
FINISHED = pb.GenerateStreamResponse(
    finished=pb.Finished(
        finish_reason=pb.FINISH_REASON_MAX_CHARACTERS,
        usage=pb.Usage(prompt_characters=6, generated_characters=8),
    )
)


def delta(text: str, offset: int = 0) -> pb.GenerateStreamResponse:
    """The message of a delta."""
    return pb.GenerateStreamResponse(delta=pb.Delta(text=text, offset=offset))


WHOLE = [STARTED, delta("한글\n", 0), delta("words", 3), FINISHED]
"""A stream that succeeds: a text of 8 characters in 2 messages."""

MODEL = [pb.GetModelResponse(model=pb.Model(name="tiny", digest="0123456789abcdef", alphabet=["a", "b"]))]
"""The answer that describes a model with two characters."""


class ScriptedServer(rpc.GenerationServiceServicer):
    """Plays one of ``scripts`` per call, and the last one forever; a script is messages, ``Abort`` and ``HANG``.

    ``requests`` holds the requests that arrived, ``seconds_left`` the deadline and ``metadata`` the metadata of each
    call. ``arrived`` is set when the first call arrives, ``cancelled`` when a call is cancelled. With ``credentials``
    it speaks TLS.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self._credentials = credentials
        self.scripts: list[Sequence[Any]] = [WHOLE]
        self.requests: list[Any] = []
        self.seconds_left: list[float | None] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.arrived = threading.Event()
        self.cancelled = threading.Event()
        self.endpoint = ""

    def __enter__(self) -> Self:
        port: Future[int] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._live(port),))
        self._thread.start()
        self.endpoint = f"127.0.0.1:{port.result(60)}"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        """Sets the answer of the health service for the whole server."""
        asyncio.run_coroutine_threadsafe(self._health.set("", status), self._loop).result(60)

    async def received(self, requests: int) -> None:
        """Waits until this number of requests has arrived."""
        async with asyncio.timeout(60):
            while len(self.requests) < requests:
                await asyncio.sleep(0.005)

    async def _live(self, port: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._health = health.aio.HealthServicer()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        server = grpc.aio.server()
        rpc.add_GenerationServiceServicer_to_server(self, server)  # type: ignore[no-untyped-call] # generated code
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._credentials is None:
            chosen = server.add_insecure_port("127.0.0.1:0")
        else:
            chosen = server.add_secure_port("127.0.0.1:0", self._credentials)
        await server.start()
        port.set_result(chosen)
        await self._stop.wait()
        await server.stop(5)  # calls that clients left end by themselves

    async def _play(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        self.requests.append(request)
        self.seconds_left.append(context.time_remaining())
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.arrived.set()
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            for step in script:
                if isinstance(step, Abort):
                    own = (("request-id", "request-1"),) if step.status is Status.INTERNAL else ()
                    await context.abort(step.status, step.details, step.trailers or own)
                elif step is HANG:
                    await asyncio.Event().wait()
                else:
                    yield step
        except (asyncio.CancelledError, GeneratorExit):  # the latter if gRPC was just sending a message
            self.cancelled.set()
            raise

    async def _answer(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        return await anext(self._play(request, context))

    async def ScoreStream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Plays a script when all messages have come, of which ``requests`` gets the list."""
        async for step in self._play([message async for message in requests], context):
            yield step

    GenerateStream = _play
    Generate = _answer
    Score = _answer
    Rescore = _answer
    GetModel = _answer
    ListModels = _answer
