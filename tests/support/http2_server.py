"""A server that speaks HTTP/2 by hand, and breaks it as a test wants, as proxies and networks do.

It never decodes a header. The clients' health checks are known by their empty message, and are refused as by a server
that has no health service.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from benchmarks.http2 import ACKNOWLEDGEMENT, DATA, END_STREAM, GOAWAY, PING, RESET, SETTINGS, frame, headers

CLOSE = object()
"""A step that closes the connection."""
READ = object()
"""A step that waits until the test has called ``has_read``."""

Step = Callable[[int], bytes] | object
"""Returns the bytes that are sent for the call of a stream; or one of the steps above."""

_PREFACE_BYTES = 24
_EMPTY_MESSAGE = 5  # bytes
_HEAD = ((":status", "200"), ("content-type", "application/grpc"))


def begin(stream: int) -> bytes:
    """The head of an answer."""
    return headers(stream, _HEAD)


def message(content: Any) -> Callable[[int], bytes]:
    """A whole message."""
    raw = content.SerializeToString()
    return data(struct.pack(">BI", 0, len(raw)) + raw)


def data(payload: bytes, flags: int = 0) -> Callable[[int], bytes]:
    """Bytes of messages."""
    return lambda stream: frame(DATA, flags, stream, payload)


def end(**fields: str) -> Callable[[int], bytes]:
    """Trailers of ``fields``, whose names have underscores for hyphens."""
    pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
    return lambda stream: headers(stream, pairs, END_STREAM)


def reset(code: int) -> Callable[[int], bytes]:
    """RST_STREAM with an error code of RFC 9113."""
    return lambda stream: frame(RESET, 0, stream, struct.pack(">I", code))


def go_away(code: int, *, takes: bool) -> Callable[[int], bytes]:
    """GOAWAY, which ``takes`` the call or not."""
    return lambda stream: frame(GOAWAY, 0, 0, struct.pack(">II", stream if takes else 0, code))


def page(status: str) -> Callable[[int], bytes]:
    """A web page in place of an answer."""
    head = ((":status", status), ("content-type", "text/html"))
    return lambda stream: headers(stream, head) + frame(DATA, END_STREAM, stream, b"<html></html>")


class Http2Server:
    """Plays one of ``scripts`` per call, and the last one for ever; ``calls`` counts them."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = list(scripts)
        self._was_read = asyncio.Event()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.calls = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self._was_read.set()
        await asyncio.sleep(0)  # a connection that was just made has its task after that
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections)

    @property
    def endpoint(self) -> str:
        """The address on which it listens."""
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def has_read(self) -> None:
        """Lets ``READ`` pass."""
        self._was_read.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await reader.readexactly(_PREFACE_BYTES)
            writer.write(frame(SETTINGS, 0, 0, b""))
            while not writer.is_closing():
                head = await reader.readexactly(9)
                length, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
                payload = await reader.readexactly(length)
                if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGEMENT:
                    writer.write(frame(kind, ACKNOWLEDGEMENT, 0, payload if kind == PING else b""))
                elif kind == DATA and length == _EMPTY_MESSAGE:
                    writer.write(headers(stream, (*_HEAD, ("grpc-status", "12")), END_STREAM))
                elif kind == DATA and length:
                    await self._play(stream, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            with suppress(OSError):  # of a connection that broke
                await writer.wait_closed()

    async def _play(self, stream: int, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        for step in self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]:
            if step is READ:
                await self._was_read.wait()
            elif step is CLOSE:
                writer.close()
            else:
                assert callable(step)
                writer.write(step(stream))
