"""A TCP proxy in front of one server, which cuts, delays and loses its connections, as networks do.

``failover`` puts one between its callers and each replica, and ``network`` counts its bytes. It knows nothing of them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 2**16


class Proxy:
    """Listens on a free port of this machine while it is entered, and connects to ``target`` on it.

    ``delay`` is how many seconds each chunk waits on its way, in either direction.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._vanished: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.delay = 0.0
        self.to_target = 0
        """Bytes that it has carried to the server."""
        self.from_target = 0
        """Bytes that it has carried from the server."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(self._connections)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> int:
        """Resets every connection, and returns how many there were."""
        for writers in self._connections.values():
            for writer in writers:
                writer.transport.abort()
        return len(self._connections)

    def vanish(self) -> int:
        """Drops every byte that connections carry from now on, and leaves them open. Returns how many there are."""
        self._vanished |= self._connections.keys()
        return len(self._connections)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections[connection] = [writer]
        try:
            with suppress(OSError):
                other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
                self._connections[connection].append(other_writer)
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._pump(connection, reader, other_writer, is_answer=False))
                    ways.create_task(self._pump(connection, other_reader, writer, is_answer=True))
        finally:
            for end in self._connections.pop(connection):
                end.transport.abort()
            self._vanished.discard(connection)

    async def _pump(
        self,
        connection: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_answer: bool,
    ) -> None:
        """Carries one way, until either end has closed it; then closes the other end."""
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if is_answer:
                    self.from_target += len(chunk)
                else:
                    self.to_target += len(chunk)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if connection not in self._vanished:
                    writer.write(chunk)
                    await writer.drain()
        if connection not in self._vanished:
            writer.transport.close()
