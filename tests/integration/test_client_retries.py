"""Retries, balancing and endpoints of ``AsyncClient`` against real servers that play scripts."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AsyncClient,
    Finished,
    InvalidArgumentError,
    ResourceExhaustedError,
    Started,
    UnavailableError,
    retries,
)
from tests.support.scripted_server import FINISHED, STARTED, WHOLE, Abort, ScriptedServer, Status

NO_RETRY = (("grpc-retry-pushback-ms", "-1"),)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.endpoint) as client:
        yield client


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED])
async def test_a_call_that_the_server_turned_away_is_retried(
    client: AsyncClient, server: ScriptedServer, status: Status
) -> None:
    server.scripts = [[Abort(status)], [Abort(status, trailers=(("grpc-retry-pushback-ms", "1"),))], WHOLE]
    events = [event async for event in client.stream()]
    assert isinstance(events[-1], Finished)
    assert len(server.requests) == 3


async def test_a_call_is_tried_five_times(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "1"),))]]
    with pytest.raises(UnavailableError):
        await client.generate()
    assert len(server.requests) == 5


@pytest.mark.parametrize("method", ["generate", "stream"])
async def test_a_pause_of_an_hour_that_the_server_asks_for_is_cut(
    client: AsyncClient, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(retries, "MOST_PAUSE", 0.01)
    refusal = Abort(Status.RESOURCE_EXHAUSTED, trailers=(("grpc-retry-pushback-ms", "3600000"),))
    answer = pb.GenerateResponse(started=STARTED.started, text="a", finished=FINISHED.finished)
    server.scripts = [[refusal], WHOLE if method == "stream" else [answer]]
    async with asyncio.timeout(60):
        await (client.generate() if method == "generate" else anext(client.stream()))
    assert len(server.requests) == 2


async def test_a_call_that_the_servers_grpc_dropped_is_retried(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.CANCELLED)], WHOLE]
    assert isinstance(await anext(client.stream()), Started)


async def test_a_server_that_stays_full_ends_the_retries(
    client: AsyncClient, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MOST_SECONDS", 0.5)
    server.scripts = [[Abort(Status.RESOURCE_EXHAUSTED)]]
    async with asyncio.timeout(60):
        with pytest.raises(ResourceExhaustedError):
            await client.generate()
    assert len(server.requests) > 1


async def test_the_server_can_forbid_a_retry(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.RESOURCE_EXHAUSTED, trailers=NO_RETRY)], WHOLE]
    with pytest.raises(ResourceExhaustedError):
        await anext(client.stream())
    assert len(server.requests) == 1


async def test_a_wrong_request_is_not_retried(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.INVALID_ARGUMENT)], WHOLE]
    with pytest.raises(InvalidArgumentError):
        await anext(client.stream())
    assert len(server.requests) == 1


async def test_several_addresses_take_turns(server: ScriptedServer) -> None:
    with ScriptedServer() as other:
        server.scripts = other.scripts = [[pb.ListModelsResponse()]]
        ports = [each.endpoint.partition(":")[2] for each in (server, other)]
        async with AsyncClient("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)) as client:
            while not (server.requests and other.requests):  # turns begin once both are connected
                await client.models()
            before = len(server.requests), len(other.requests)
            for _ in range(10):
                await client.models()
        assert (len(server.requests) - before[0], len(other.requests) - before[1]) == (5, 5)


async def test_calls_continue_if_one_address_of_several_is_gone(server: ScriptedServer) -> None:
    server.scripts = [[pb.ListModelsResponse()]]
    async with AsyncClient(f"ipv4:127.0.0.1:1,{server.endpoint}") as client:
        for _ in range(5):
            await client.models()
    assert len(server.requests) == 5


async def test_if_no_server_answers_the_error_is_unavailable() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as caught:
            await client.health()
    assert caught.value.status is Status.UNAVAILABLE


@pytest.mark.parametrize(
    "endpoint",
    ["", "localhost", "http://localhost:50051", "localhost:", "localhost:http", "dns:///localhost", ":50051"],
)
async def test_an_endpoint_that_grpc_would_misread_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgumentError, match="HOST:PORT") as caught:
        AsyncClient(endpoint)
    assert caught.value.status is None
