"""The HTTP port: metrics, the two probes, the playground and the API, on a thread and an event loop of their own.

Stands beside the gRPC port. A connection serves one request, unless that is one of the API or for a file. If there are
too many, they wait in the operating system.

Invariant: beyond a burst, and beside the answers of the API to callers that it admits, this thread takes a tenth of a
core at most, however many ask; a connection lasts ``LIFETIME`` at most after its last answer, and their number is
bounded.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry

from ..thread_share import ThreadShare
from ..tls.renewal import Tls
from .answers import Answers
from .asgi import Bridge
from .connections import LIFETIME, Connections
from .site import Site

_BACKLOG = 4096  # connections that wait in the operating system
_SILENCE = 3  # seconds that one that says nothing waits there; only Linux holds it back so long
_MAX_LINE = 8190  # bytes of the request's first line, and of a header; the id of an event takes some KB
_MAX_HEADERS = 64
_SHARE = 0.1  # of a core, for this thread
_BURST = 0.1  # seconds of processor time that it may take at once
_OVERDRAFT = 0.5  # seconds beyond its share after which open connections are closed
_LOOK = 0.25  # seconds between two looks at it
_RETRY = 0.1  # seconds until the next try if a connection can't be accepted

# Server, in the header of every answer, also of those that aiohttp makes by itself to broken requests. By default it
# tells strangers the versions of Python and aiohttp.
web_response.SERVER_SOFTWARE = "nextchar"  # type: ignore[attr-defined]


class HttpPort:
    """The HTTP port. Its methods are called on the server's event loop."""

    def __init__(
        self,
        registry: CollectorRegistry,
        is_ready: Callable[[], bool],
        *,
        most_connections: int,
        tls: Tls | None = None,
        admits: Callable[[str, str | None], bool] | None = None,
        site: Site | None = None,
        gather: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        """``is_ready`` tells whether the server takes new calls, and ``admits`` whether a request for a path may have
        an answer, by its Authorization; without it, every one may. Both are called in the thread of this port.

        There are ``most_connections`` at once; one more closes the oldest. Without a ``site``, there are only metrics
        and probes. A worker has ``gather``, which returns the metrics of all workers, and shares its port with them.
        """
        self._answers = Answers(registry, is_ready, admits, is_mutual=tls is not None and tls.is_mutual, gather=gather)
        self._is_shared = gather is not None
        self._site = site
        self._tls = tls
        self._most_connections = most_connections
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop] | None = None  # None until the port is open
        self._closing = asyncio.Event()
        self._listeners: list[socket.socket] = []

    async def open(self, host: str, port: int) -> int:
        """Listens on all addresses of ``host`` and returns the port. Raises ``OSError``."""
        self._listeners = await _listen(host, port, is_shared=self._is_shared)
        loop = uvloop.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop,), name="http", daemon=True)
        thread.start()
        self._running = thread, loop
        number: int = self._listeners[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Closes all connections at once."""
        if self._running is None:
            return
        thread, loop = self._running
        if thread.is_alive():
            loop.call_soon_threadsafe(self._closing.set)
            await asyncio.to_thread(thread.join)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        site, share = self._site, ThreadShare(_SHARE, _BURST)
        connections = Connections(
            _server(self._answers.answer),
            _server(_hint_at_tls),
            self._most_connections,
            self._tls,
            most_held=0 if site is None else site.most_requests,
        )
        self._answers.begin(share)
        if site is not None:
            bridge = Bridge(site.app, site.door, site.bounds, site.budget, site.rejected, share.credit)
            self._answers.open_site(site.pages, bridge, connections)
        tasks = [asyncio.create_task(self._accept(listener, connections, share)) for listener in self._listeners]
        tasks.append(asyncio.create_task(self._guard(connections, share)))
        await self._closing.wait()
        for task in tasks:
            task.cancel()
        for listener in self._listeners:
            listener.close()
        connections.close(held=True)

    async def _accept(self, listener: socket.socket, connections: Connections, share: ThreadShare) -> None:
        while True:
            if (left := share.left()) < 0:
                await asyncio.sleep(-left / share.share)
            try:
                await _readable(listener)
                connection, _ = listener.accept()
                if not _has_spoken(connection):
                    connection.close()
                    continue
            except OSError:  # such as too many open files
                await asyncio.sleep(_RETRY)
                continue
            connections.take(connection)

    async def _guard(self, connections: Connections, share: ThreadShare) -> None:
        """Closes all connections whenever those that are open take far more than the share, such as by tiny records."""
        while True:
            await asyncio.sleep(_LOOK)
            if share.left() < -_OVERDRAFT:
                connections.close()


def _server(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.Server:
    return web.Server(
        answer,
        handler_cancellation=True,  # a caller that leaves frees what it asked for
        access_log=None,
        logger=_logger,
        keepalive_timeout=LIFETIME,
        lingering_time=0,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_LINE,
        max_headers=_MAX_HEADERS,
    )


async def _hint_at_tls(request: web.BaseRequest) -> web.Response:
    response = web.Response(status=400, text="this port speaks TLS: use https\n")
    response.force_close()
    return response


async def _listen(host: str, port: int, *, is_shared: bool) -> list[socket.socket]:
    """Returns sockets that listen on all addresses of ``host`` that this machine has. Raises ``OSError``."""
    listeners: list[socket.socket] = []
    unavailable = OSError()
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, _, _, _, address in found:
            try:
                listener = socket.create_server(
                    (address[0], port), family=family, backlog=_BACKLOG, reuse_port=is_shared
                )
            except OSError as error:  # such as ::1 of localhost on a machine without IPv6
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
                continue
            listener.setblocking(False)
            if hasattr(socket, "TCP_DEFER_ACCEPT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENCE)
            listeners.append(listener)
            port = listener.getsockname()[1]  # if any port will do, the same one for all addresses
        if not listeners:
            raise unavailable
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def _readable(listener: socket.socket) -> None:
    """Waits until a connection can be accepted. (``sock_accept`` loses one that it accepted when it is cancelled.)"""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(listener, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(listener)


def _has_spoken(connection: socket.socket) -> bool:
    """Returns whether the caller has sent something, or may still do so in time."""
    if not hasattr(socket, "TCP_DEFER_ACCEPT"):
        return True
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return False


class _CallersMistakes(logging.Filter):
    """Drops the lines of aiohttp about bad requests: tracebacks that quote the caller."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_logger = logging.getLogger(__name__)
_logger.addFilter(_CallersMistakes())
