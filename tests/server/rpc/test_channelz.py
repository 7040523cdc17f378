"""The counts that gRPC keeps of each connection, of a real server and its callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from nextchar_server.rpc import channelz
from tests.support.waiting import until


class Waiting(grpc.GenericRpcHandler):
    """Serves two methods, and every other one by a call that never ends by itself; notes the peers."""

    ANSWERED, REFUSED = "/s/answered", "/s/refused"

    def __init__(self) -> None:
        self.peers: list[str] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the handler."""
        handlers = {self.ANSWERED: self._answer, self.REFUSED: self._refuse}
        return grpc.unary_unary_rpc_method_handler(handlers.get(handler_call_details.method, self._wait))

    async def _answer(self, request: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        return b""

    async def _refuse(self, request: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        raise AssertionError

    async def _wait(self, request: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        self.peers.append(context.peer())
        await asyncio.Event().wait()
        return b""


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, str, Waiting]]:
    """Yields the number of a server, its address and its handler."""
    handler, others = Waiting(), channelz.server_ids()
    server = grpc.aio.server(options=[("grpc.enable_channelz", 1)])
    server.add_generic_rpc_handlers([handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    (number,) = channelz.server_ids() - others
    try:
        yield number, f"127.0.0.1:{port}", handler
    finally:
        await server.stop(0)


async def test_a_connection_is_found_by_the_name_that_its_calls_have() -> None:
    async with serving() as (number, address, handler), grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary("/s/m")
        call = method(b"")
        await until(lambda: bool(handler.peers))
        assert list(channelz.connections(number).values()) == handler.peers
        call.cancel()


async def test_calls_that_their_caller_cancels_are_counted_by_connection() -> None:
    async with serving() as (number, address, handler), grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary("/s/m")
        calls = [method(b"") for _ in range(7)]
        await until(lambda: len(handler.peers) == 7)
        for call in calls[:5]:
            call.cancel()
        (connection,) = channelz.connections(number)
        await until(lambda: channelz.calls_of(connection) == (5, 0))
        for call in calls[5:]:
            call.cancel()


async def test_calls_that_end_well_or_are_refused_are_no_failures() -> None:
    async with serving() as (number, address, _), grpc.aio.insecure_channel(address) as channel:
        answered: Any = channel.unary_unary(Waiting.ANSWERED)
        refused: Any = channel.unary_unary(Waiting.REFUSED)
        for _ in range(3):
            await answered(b"")
            with suppress(grpc.aio.AioRpcError):
                await refused(b"")
        (connection,) = channelz.connections(number)
        await until(lambda: channelz.calls_of(connection) == (0, 6))


def test_a_connection_that_is_gone_has_no_count() -> None:
    assert channelz.calls_of(2**40) is None
