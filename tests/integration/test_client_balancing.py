"""``AsyncClient`` and servers that take no calls: those that drain or load, and those without a health service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc
from nextchar_client import AsyncClient, Health, UnavailableError
from tests.support.command import Run
from tests.support.scripted_server import ScriptedServer

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def together(*servers: ScriptedServer) -> str:
    return "ipv4:" + ",".join(server.endpoint for server in servers)


async def until(condition: object, client: AsyncClient) -> None:
    assert callable(condition)
    async with asyncio.timeout(60):
        while not condition():
            await client.models()


async def test_calls_skip_a_server_that_drains(server: ScriptedServer) -> None:
    with ScriptedServer() as other:
        server.scripts = other.scripts = [[pb.ListModelsResponse()]]
        async with AsyncClient(together(server, other)) as client:
            await until(lambda: server.requests and other.requests, client)
            other.set_health(NOT_SERVING)
            seen = -1
            while seen != len(other.requests):  # the news is on its way
                seen = len(other.requests)
                for _ in range(20):
                    await client.models()
            for _ in range(50):
                await client.models()
            assert len(other.requests) == seen


async def test_calls_come_back_to_a_server_that_serves_again(server: ScriptedServer) -> None:
    with ScriptedServer() as other:
        server.scripts = other.scripts = [[pb.ListModelsResponse()]]
        other.set_health(NOT_SERVING)
        async with AsyncClient(together(server, other)) as client:
            for _ in range(20):
                await client.models()
            assert other.requests == []
            other.set_health(SERVING)
            await until(lambda: other.requests, client)


async def test_an_endpoint_that_is_named_several_times_has_as_many_connections() -> None:
    connections: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    endpoint = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with AsyncClient([endpoint] * 3) as client:
        call = asyncio.create_task(client.models())
        async with asyncio.timeout(60):
            while len(connections) < 3:
                await asyncio.sleep(0.01)
        call.cancel()
    for writer in connections:
        writer.close()
    listener.close()


async def test_a_call_to_servers_of_which_none_serves_is_unavailable(server: ScriptedServer) -> None:
    server.set_health(NOT_SERVING)
    async with AsyncClient(server.endpoint) as client:
        with pytest.raises(UnavailableError, match="unhealthy"):
            await client.models()
    assert server.requests == []


async def test_health_is_told_of_a_server_that_takes_no_calls(server: ScriptedServer) -> None:
    server.set_health(NOT_SERVING)
    async with AsyncClient(server.endpoint) as client:
        assert await client.health() is Health.NOT_SERVING


def test_the_command_says_that_the_server_takes_no_calls_now(server: ScriptedServer, run: Run) -> None:
    server.set_health(NOT_SERVING)
    line = f"the server at {server.endpoint} takes no calls now: it is loading or shutting down (UNAVAILABLE)"
    assert run("models") == (3, "", f"nextchar: error: {line}\n")


@pytest.mark.parametrize("gone", ["127.0.0.1:1", "no-such-host.invalid:1"])
async def test_calls_skip_an_endpoint_that_does_not_answer(server: ScriptedServer, gone: str) -> None:
    server.scripts = [[pb.ListModelsResponse()]]
    async with AsyncClient([gone, server.endpoint]) as client:
        for _ in range(5):
            await client.models()


def test_the_command_takes_several_endpoints(server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("generate", "--endpoint", f"127.0.0.1:1,{server.endpoint}") == (0, "한글\nwords", "")
    assert run("bench", "--requests", "1", "--endpoint", "127.0.0.1:1,localhost")[2].startswith(
        "nextchar: error: --endpoint: 'localhost' has no port"
    )


class Models(rpc.GenerationServiceServicer):
    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[pb.Model(name="tiny")])


@asynccontextmanager
async def without_health() -> AsyncIterator[str]:
    server = grpc.aio.server()
    rpc.add_GenerationServiceServicer_to_server(Models(), server)  # type: ignore[no-untyped-call] # generated code
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_a_server_without_a_health_service_is_called_all_the_same() -> None:
    async with without_health() as endpoint, AsyncClient(endpoint) as client:
        assert [model.name for model in await client.models()] == ["tiny"]
