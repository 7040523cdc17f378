"""A real server in the test's own process and loop, on free ports, with a real channel to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_status import rpc_status

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.engine.engine import Engine
from nextchar_server.rpc.inside import Door
from nextchar_server.rpc.service import GenerationService
from nextchar_server.server import Server
from nextchar_server.settings.config import Config


@dataclass(frozen=True)
class Serving:
    """A running server."""

    server: Server
    grpc_port: int
    http_port: int
    channel: grpc.aio.Channel
    stub: Any

    @property
    def service(self) -> GenerationService:
        """Its service."""
        assert self.server._parts is not None
        return self.server._parts.service

    @property
    def door(self) -> Door:
        """Where its calls by HTTP come in."""
        assert self.server._parts is not None
        return self.server._parts.door

    @property
    def engine(self) -> Engine:
        """The engine of its only model."""
        assert self.server._parts is not None
        (model,) = self.server._parts.versions.catalog
        return model.engine

    def stream(self, prompt: str = "", model: str = "", **parameters: Any) -> Any:
        """Calls GenerateStream."""
        return self.stub.GenerateStream(
            pb.GenerateStreamRequest(prompt=prompt, model=model, parameters=pb.GenerationParameters(**parameters))
        )

    async def text(self, prompt: str = "", **parameters: Any) -> str:
        """Returns the text of a whole stream."""
        return "".join([event.delta.text async for event in self.stream(prompt, **parameters)])


# With small windows, the server soon notices that a reader doesn't read.
SMALL_WINDOWS = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]

Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@asynccontextmanager
async def serving(*models: str | Path, **settings: Any) -> AsyncIterator[Serving]:
    """Serves ``models`` on free ports; ``settings`` are fields of ``Config``."""
    settings = {"lanes": 2, "drain_timeout": 5.0, **settings}
    server = Server(Config(model=tuple(map(str, models)), grpc_port=0, http_port=0, **settings))
    ports = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options=SMALL_WINDOWS) as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            yield Serving(server, ports.grpc, ports.http, channel, stub)
    finally:
        await server.stop()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """Returns the error with which ``call``, a stream or a unary one, ends."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def details(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """Returns the detail of type ``kind`` that ``error`` carries."""
    status = rpc_status.from_call(error)
    assert status is not None
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            return detail
    raise AssertionError(f"no {kind.__name__} in {status}")
