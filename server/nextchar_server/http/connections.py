"""The open connections of the HTTP port: their handshakes, their number and their ends.

Stands between ``port``, which accepts connections and answers requests, and aiohttp, which reads and writes them.

Invariant: no connection waits for another one's handshake; one lasts ``LIFETIME`` at most, handshake included, and
there are never more than the bound. Those that are held, because the API answers on them, last as long as that, and
have a bound of their own.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import web

from ..tls.renewal import Tls

LIFETIME = 10.0
"""Seconds from the start of a connection to its end at the latest, whether or not it was answered."""

_LAST_ANSWER = LIFETIME / 2  # seconds before its end from which on a connection serves no further request
_HANDSHAKE = 3.0  # seconds for that of TLS
_SENDING = 64 * 1024  # bytes that the system holds of an answer that nobody reads
_GOODBYE = 1.0  # seconds in which a caller confirms the end of TLS
_TLS = b"\x16"  # the first byte of each connection with TLS

_Opened = tuple[asyncio.BaseTransport, web.RequestHandler]


class Connections:
    """The connections of one server. For its own event loop."""

    def __init__(
        self, server: web.Server, without_tls: web.Server, most: int, tls: Tls | None, most_held: int = 0
    ) -> None:
        """``without_tls`` serves callers who don't speak TLS although they should."""
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._without_tls = without_tls
        self._most = most
        self._tls = tls
        self._opening: dict[asyncio.Task[_Opened | None], asyncio.TimerHandle] = {}  # oldest first; also those open
        self._most_held = most_held
        self._held: dict[asyncio.Task[_Opened | None], None] = {}

    def take(self, connection: socket.socket) -> None:
        """Serves ``connection``. If there are too many, the oldest one is closed."""
        self._opening = {each: end for each, end in self._opening.items() if self._is_open(each)}
        if len(self._opening) >= self._most:
            self._abort(next(iter(self._opening)))
        task = self._loop.create_task(self._open(connection))
        task.add_done_callback(lambda task: connection.close() if task.cancelled() else None)
        self._keep(task)

    def may_serve_again(self, protocol: object) -> bool:
        """Whether there is time on the connection of ``protocol``, as aiohttp calls it, for another request."""
        end = next((end for each, end in self._opening.items() if _is_of(each, protocol)), None)
        return end is not None and end.when() - self._loop.time() > _LAST_ANSWER

    def hold(self, protocol: object) -> bool:
        """Keeps the connection of ``protocol`` until ``let_go``. Returns whether that may be."""
        task = next((each for each in self._opening if _is_of(each, protocol)), None)
        if task is None or len(self._held) >= self._most_held:
            return False
        self._opening.pop(task).cancel()
        self._held[task] = None
        opened = _result(task)
        assert opened is not None
        if (connection := opened[0].get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENDING)
        return True

    def let_go(self, protocol: object) -> None:
        """Ends a ``hold``: the connection has another ``LIFETIME``."""
        task = next((each for each in self._held if _is_of(each, protocol)), None)
        if task is not None:
            del self._held[task]
            self._keep(task)

    def close(self, *, held: bool = False) -> None:
        """Closes all of them at once; those that are held only if ``held``."""
        for task in [*self._opening, *(self._held if held else ())]:
            self._abort(task)

    def _keep(self, task: asyncio.Task[_Opened | None]) -> None:
        self._opening[task] = self._loop.call_later(LIFETIME, self._abort, task)

    async def _open(self, connection: socket.socket) -> _Opened | None:
        """Returns None if the connection is over before a request can come."""
        with suppress(OSError):  # such as a handshake that fails
            if self._tls is None:
                return await self._loop.connect_accepted_socket(self._server, connection)
            if not _speaks_tls(connection):
                return await self._loop.connect_accepted_socket(self._without_tls, connection)
            return await self._loop.connect_accepted_socket(
                self._server,
                connection,
                ssl=self._tls.context,
                ssl_handshake_timeout=_HANDSHAKE,
                ssl_shutdown_timeout=_GOODBYE,
            )
        connection.close()
        return None

    def _is_open(self, task: asyncio.Task[_Opened | None]) -> bool:
        if not task.done():
            return True
        opened = _result(task)
        return opened is not None and (
            opened[1] in self._server.connections or opened[1] in self._without_tls.connections
        )

    def _abort(self, task: asyncio.Task[_Opened | None]) -> None:
        if (end := self._opening.pop(task, None)) is not None:
            end.cancel()
        if not task.done():
            task.cancel()
        elif (opened := _result(task)) is not None:
            opened[0].abort()  # type: ignore[attr-defined]


def _result(task: asyncio.Task[_Opened | None]) -> _Opened | None:
    return None if task.cancelled() else task.result()


def _is_of(task: asyncio.Task[_Opened | None], protocol: object) -> bool:
    opened = _result(task) if task.done() else None
    return opened is not None and opened[1] is protocol


def _speaks_tls(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == _TLS
    except BlockingIOError:  # only where the system doesn't wait for the first byte
        return True
