"""``AsyncClient`` and a name whose addresses change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from nextchar_client import AsyncClient, UnavailableError
from nextchar_server.server import Server
from nextchar_server.settings.config import Config
from tests.support.name_server import NameServer
from tests.support.serving import serving
from tests.support.tiny_model import TinyModel


async def served_by(client: AsyncClient) -> str:
    """The name of the default model of the server that answers, once one does."""
    async with asyncio.timeout(25):  # below the 30 s that gRPC waits by itself between two looks at a name
        while True:
            try:
                return (await client.model()).name
            except UnavailableError:
                continue


@asynccontextmanager
async def replica(model: Path, host: str, port: int) -> AsyncIterator[None]:
    """Serves ``model`` as ``new`` on an address of this machine."""
    server = Server(Config(model=(f"new={model}",), host=host, grpc_port=port, http_port=0, lanes=1))
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@pytest.mark.slow
async def test_replicas_that_replace_all_others_are_found_before_grpc_would_look_by_itself(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with NameServer("127.0.0.1") as names, AsyncExitStack() as stack:
        old = await stack.enter_async_context(serving(f"old={tiny.int8}", drain_timeout=0.0))
        endpoint = f"dns://127.0.0.1:{names.port}/replicas.test:{old.grpc_port}"
        client = await stack.enter_async_context(AsyncClient(endpoint))
        assert await served_by(client) == "old"
        await old.server.stop()
        await stack.enter_async_context(replica(tiny.int8, "127.0.0.2", old.grpc_port))
        names.addresses = ("127.0.0.2",)
        assert await served_by(client) == "new"
