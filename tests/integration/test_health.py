"""Health, and the connections of the gRPC port, through a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.http2 import Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar_server.rpc import resets
from nextchar_server.server import SERVICE
from tests.support.server_process import started
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel

STREAM = "/nextchar.v1.GenerationService/GenerateStream"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ENDLESS = 2**31
MOST = 3
"""Watches of one connection."""


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, max_characters=ENDLESS, drain_timeout=60.0, max_watches_per_connection=MOST) as serving:
        yield serving


async def test_a_watcher_of_an_unknown_service_is_told_so_and_waits(serving: Serving) -> None:
    watch = health_pb2_grpc.HealthStub(serving.channel).Watch(health_pb2.HealthCheckRequest(service="other"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_a_connection_has_so_many_watches_and_no_more(serving: Serving) -> None:
    stub = health_pb2_grpc.HealthStub(serving.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE)) for _ in range(MOST)]
    assert [(await watch.read()).status for watch in watches] == [SERVING] * MOST
    error = await failure(stub.Watch(health_pb2.HealthCheckRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    watches[0].cancel()
    async with asyncio.timeout(60):
        while (await asyncio.gather(first(stub), return_exceptions=True))[0] != SERVING:
            pass


async def first(stub: health_pb2_grpc.HealthStub) -> int:
    """Returns the first status that a new watch tells."""
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    try:
        status: int = (await watch.read()).status
        return status
    finally:
        watch.cancel()


async def test_watchers_hear_of_a_drain_though_others_read_nothing(serving: Serving) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            unread = await Connection.open(serving.grpc_port, window=0)
            stack.callback(unread.close)
            unread.call(WATCH, b"")
            await unread.drain()
        running = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(running))
        watch = health_pb2_grpc.HealthStub(serving.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(serving.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        running.cancel()
        await stopping


async def test_every_connection_is_told_to_go_away_when_the_drain_begins(serving: Serving) -> None:
    running = serving.stream("the", max_characters=ENDLESS)
    await anext(aiter(running))
    others = [await Connection.open(serving.grpc_port, window=0) for _ in range(3)]
    told = [asyncio.create_task(other.serve()) for other in others]  # each ends when it is told
    stopping = asyncio.create_task(serving.server.stop())
    async with asyncio.timeout(60):
        await asyncio.gather(*told)
    assert not stopping.done()
    assert not running.done()  # it continues
    running.cancel()
    await stopping
    for other in others:
        other.close()


# Connections, with few files.


async def test_connections_to_one_port_do_not_shut_out_the_other(tiny: TinyModel) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(started("--model", tiny.int8, files=256))
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.grpc_port)))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()


async def test_the_http_port_does_not_shut_out_grpc(tiny: TinyModel) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(started("--model", tiny.int8, files=256))
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port)))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


def test_few_files_are_logged_with_the_number_of_connections_that_they_allow(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, files=256) as server:
        assert server.events["few_files"]["files"] == 256
        assert 0 < server.events["few_files"]["connections"] < 256


# A connection that cancels call after call (CVE-2023-44487).


async def test_a_rapid_reset_is_held_back_and_others_do_not_notice(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resets, "BURST", 5)  # a slow machine, too, is faster than that
    monkeypatch.setattr(resets, "RATE", 1)
    hostile = await Connection.open(serving.grpc_port, window=0)
    async with asyncio.timeout(120):
        while not serving.server._parts.resets._held:  # type: ignore[union-attr]
            for _ in range(10):
                hostile.reset(hostile.call(STREAM, pb.GenerateStreamRequest().SerializeToString()))
            await hostile.drain()
            assert len(await serving.text("the", max_characters=20)) == 20
    hostile.close()
