"""Incoming messages: from the bytes of a call to the protocol's messages.

First stage of a call, inside the interceptor. gRPC hands over raw bytes, so that a message that can't be parsed is
refused like any other bad request.

Invariant: a call waits for each message for a bounded time; parsing a large message is a piece of the pacer, and in
proportion to the largest valid request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from .. import memory
from ..memory import MemoryFullError
from ..pacing import Pacer
from . import footprint
from .ends import MOST_LISTED
from .errors import MalformedMessageError, NoMessageError, RequestError, StalledSenderError
from .wire import check_fields

HEAVY_BYTES = 16 * 1024
"""Size from which parsing a message is a heavy piece of work; below, it takes half a ms at most."""

_END = object()
_PACKAGE = "nextchar.v1"  # of the requests that carry texts; those of health and reflection carry names

_RECEIVING = 5e-9
"""Seconds of a processor that gRPC takes to receive a byte: an estimate, from the throughput that others lost."""

SLOW = 0.25
"""Seconds after which a message that isn't complete counts as one of the largest size: gRPC may hold most of it."""


class Incoming:
    """Receives and parses the messages of all calls."""

    def __init__(
        self, pacer: Pacer, most_fields: Callable[[], int], most_bytes: int, *, patience: float, pause: float = 60.0
    ) -> None:
        """``most_fields`` returns the number of fields that the largest valid request has; ``most_bytes`` is its size.

        The first message of a call must arrive within ``patience`` seconds, each further one within ``pause``.
        """
        self._pacer = pacer
        self._most_bytes = most_bytes
        self._most_fields = most_fields
        self._patience = patience
        self._pause = pause

    async def message(self, context: grpc.aio.ServicerContext[Any, Any], deserialize: Any) -> Any:
        """Returns the only message of a call, of which nobody keeps the bytes.

        Raises ``RequestError`` if the call has no message, or if its bytes can't be parsed, and ``MemoryFullError``.
        """
        data = await self._received(context, _Room(), NoMessageError, self._patience)
        if data is None:
            raise NoMessageError("the call ended without a request message")
        return await self._parsed(data, deserialize)

    async def _received(
        self, context: grpc.aio.ServicerContext[Any, Any], room: _Room, late: type[RequestError], patience: float
    ) -> bytes | None:
        """Returns the next message of a call in bytes, or None after the last one.

        Raises ``late`` if none came within ``patience`` seconds, and ``MemoryFullError`` if there is no room.
        """
        loop = asyncio.get_running_loop()
        refusal: MemoryFullError | None = None

        def hold_the_largest() -> None:
            nonlocal refusal
            try:
                room.require(self._most_bytes)
                timeout.reschedule(begun + patience)
            except MemoryFullError as error:
                refusal = error
                timeout.reschedule(loop.time())

        # Nearly every message comes sooner, and pays for one timer.
        begun = loop.time()
        slow = loop.call_later(min(SLOW, patience), hold_the_largest)
        try:
            async with asyncio.timeout(None) as timeout:
                data = await context.read()
        except TimeoutError:
            raise refusal or late(f"no request message came within {patience:g} s") from None
        finally:
            slow.cancel()
        if not isinstance(data, bytes):  # the end
            return None
        room.require(footprint.PER_MESSAGE_BYTE * len(data))
        return data

    async def _parsed(self, data: bytes, deserialize: Any) -> Any:
        """Returns ``data`` as a message. ``deserialize`` is the ``FromString`` of its class.

        Raises ``RequestError`` if it isn't one.
        """
        if len(data) <= HEAVY_BYTES:
            return _parsed(data, deserialize)
        kind = deserialize.__self__.DESCRIPTOR
        if kind.file.package != _PACKAGE:
            raise MalformedMessageError(kind.name, f"it has {len(data)} bytes, more than {HEAVY_BYTES}")
        steps = check_fields(data, kind, self._most_fields(), MOST_LISTED)
        spent = _RECEIVING * len(data)
        while True:
            async with self._pacer.piece(spent=spent):
                if next(steps, _END) is _END:
                    return _parsed(data, deserialize)
            spent = 0.0

    async def messages(
        self, context: grpc.aio.ServicerContext[Any, Any], deserialize: Any
    ) -> AsyncGenerator[Any, None]:
        """Yields the messages of a call that may have any number of them. Each takes the room of the one before."""
        room = _Room()
        data = await self._received(context, room, NoMessageError, self._patience)
        while data is not None:
            yield await self._parsed(data, deserialize)
            data = await self._received(context, room, StalledSenderError, self._pause)


class _Room:
    """The memory that a call holds for its messages."""

    def __init__(self) -> None:
        self._size = 0
        self._holding = memory.current.get()

    def require(self, size: int) -> None:
        """Grows to ``size`` bytes, if it holds fewer. Raises ``MemoryFullError``."""
        if size > self._size:
            self._holding.grow(size - self._size)
            self._size = size


def _parsed(data: bytes, deserialize: Any) -> Any:
    try:
        return deserialize(data)
    except DecodeError as error:
        trouble = "a text in it is not UTF-8" if "UTF-8" in str(error) else "its bytes can't be parsed"
        raise MalformedMessageError(deserialize.__self__.DESCRIPTOR.name, trouble) from None
