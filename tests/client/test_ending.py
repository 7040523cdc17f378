"""The status that a call ends with, in each order in which gRPC may tell it and the write that failed because of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from nextchar_client import ending
from nextchar_client.ending import Ending

SERVERS = (grpc.StatusCode.INVALID_ARGUMENT, "text: unknown", "peer")
WRITES = (grpc.StatusCode.INTERNAL, "Internal error from Core", 'Failed "execute_batch": (SendMessageOperation,)')
MetadataOf = grpc.aio.Metadata


class Call:
    """A call whose status is set as ``grpc.aio`` sets it: again and again, with a callback each time."""

    def __init__(self) -> None:
        self._status: tuple[grpc.StatusCode, str, str] | None = None
        self._callbacks: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def set(self, status: tuple[grpc.StatusCode, str, str]) -> None:
        self._status = status
        for callback in self._callbacks:
            callback(self)

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._part(0)
        return code

    async def details(self) -> str:
        details: str = await self._part(1)
        return details

    async def debug_error_string(self) -> str:
        debug: str = await self._part(2)
        return debug

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return MetadataOf(("request-id", "r1"))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return MetadataOf(("detail", "d1"))

    async def _part(self, number: int) -> Any:
        while self._status is None:
            await asyncio.sleep(0)
        return self._status[number]


def error_of(status: tuple[grpc.StatusCode, str, str]) -> grpc.aio.AioRpcError:
    code, details, debug = status
    return grpc.aio.AioRpcError(code, MetadataOf(), MetadataOf(), details=details, debug_error_string=debug)


async def test_the_servers_status_stands_though_a_write_failed_after_it() -> None:
    call = Call()
    end = Ending(call)
    call.set(SERVERS)
    call.set(WRITES)
    cause = await end.cause(error_of(WRITES))
    assert (cause.code(), cause.details()) == SERVERS[:2]
    assert cause.initial_metadata()["request-id"] == "r1"
    assert cause.trailing_metadata()["detail"] == "d1"


async def test_the_servers_status_is_waited_for_if_a_write_failed_before_it() -> None:
    call = Call()
    end = Ending(call)
    call.set(WRITES)
    asyncio.get_running_loop().call_soon(call.set, SERVERS)
    cause = await end.cause(error_of(WRITES))
    assert (cause.code(), cause.details()) == SERVERS[:2]


async def test_a_write_that_failed_by_itself_is_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_LATE_SECONDS", 0.01)
    call = Call()
    end = Ending(call)
    call.set(WRITES)
    failure = error_of(WRITES)
    assert await end.cause(failure) is failure


async def test_an_error_of_the_server_is_the_cause() -> None:
    call = Call()
    end = Ending(call)
    internal = (grpc.StatusCode.INTERNAL, "lost", "peer")
    call.set(internal)
    failure = error_of(internal)
    assert await end.cause(failure) is failure
