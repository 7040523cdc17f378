"""The bounds of connections, as an operator sets them, through a real server."""

import asyncio
import struct

import grpc
import pytest

from benchmarks.http2 import Connection
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel

HEALTH = "/grpc.health.v1.Health/Check"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4" + bytes(5)  # with empty settings
SETTINGS, MAX_CONCURRENT_STREAMS = 4, 3  # https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2


async def test_a_connection_above_the_most_is_closed(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_connections=1) as serving:
        await serving.text("a", max_characters=1)  # over the only connection
        other = await Connection.open(serving.grpc_port, window=0)
        async with asyncio.timeout(60):
            await other.serve()
        other.close()


@pytest.mark.parametrize("bound", ["connection_idle", "connection_age"])
async def test_a_connection_that_is_idle_or_old_is_told_to_go_away(bound: str, tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, **{bound: 1.0}) as serving:
        connection = await Connection.open(serving.grpc_port, window=0)
        connection.call(HEALTH, b"")
        async with asyncio.timeout(60):
            await connection.serve()
        connection.close()


async def test_a_call_ends_with_the_grace_of_an_old_connection(tiny: TinyModel, serve: Serve) -> None:
    endless = {"max_characters": 2**31, "connection_age": 1.0, "connection_age_grace": 1.0}
    async with serve(tiny.int8, **endless) as serving, asyncio.timeout(60):
        with pytest.raises(grpc.aio.AioRpcError):
            await serving.text("the", max_characters=2**31 - 1)


async def test_a_connection_that_says_nothing_is_closed(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, handshake_timeout=0.1) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.grpc_port)
        async with asyncio.timeout(60):
            await reader.read()  # to its end
        writer.close()


async def test_a_connection_is_told_how_many_calls_it_may_have(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_calls_per_connection=7) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.grpc_port)
        writer.write(PREFACE)
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3]))
        assert head[3] == SETTINGS
        assert dict(struct.iter_unpack(">HI", payload))[MAX_CONCURRENT_STREAMS] == 7
        writer.close()
