"""HTTP/2 by hand, for callers and servers that no gRPC library would be: they open calls, and then don't behave.

Frames and header fields are those of RFC 9113 and RFC 7541; header fields are always literals, never indexed.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Iterable, Mapping

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Kinds of frames, and their flags.
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACKNOWLEDGEMENT = 0x1, 0x4, 0x1
_INITIAL_WINDOW = 4
_CANCEL = 8
_FIRST_WINDOW = 2**16 - 1  # of a connection

MAX_WINDOW = 2**31 - 1
"""Largest window, in bytes: with it a server may send as fast as it can."""


class Connection:
    """One connection, whose answers are dropped unread. Windows of streams are ``window`` bytes, and never grow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next_stream = 1
        self._ended = asyncio.Semaphore(0)

    @classmethod
    async def open(cls, port: int, *, window: int, tls: ssl.SSLContext | None = None) -> Connection:
        """Connects to ``port`` of this machine."""
        name = None if tls is None else "localhost"
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
        connection = cls(reader, writer)
        writer.write(_PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window)))
        if window > _FIRST_WINDOW:
            writer.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", window - _FIRST_WINDOW)))
        await writer.drain()
        return connection

    def call(self, method: str, message: bytes, *, more: Mapping[str, str] | None = None) -> int:
        """Sends a call with one message, and returns its stream. ``more`` holds further header fields."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
            **(more or {}),
        }
        head = headers(stream, fields.items())
        compressed = bool(more and "grpc-encoding" in more)
        body = struct.pack(">BI", compressed, len(message)) + message
        self._writer.write(head + frame(DATA, END_STREAM, stream, body))
        return stream

    def reset(self, stream: int) -> None:
        """Cancels the call of ``stream``."""
        self._writer.write(frame(RESET, 0, stream, struct.pack(">I", _CANCEL)))

    async def drain(self) -> None:
        """Waits until the operating system has taken all frames. Raises ``OSError`` if the server hung up."""
        await self._writer.drain()

    async def ended(self) -> None:
        """Waits until one more call has ended, or the server has hung up. ``serve`` has to run meanwhile."""
        await self._ended.acquire()

    async def serve(self) -> None:
        """Acknowledges settings and pings, and drops all else, until the server hangs up."""
        while True:
            try:
                head = await self._reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                payload = await self._reader.readexactly(length)
            except (asyncio.IncompleteReadError, OSError):
                self._ended.release()
                return
            if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGEMENT:
                self._writer.write(frame(kind, ACKNOWLEDGEMENT, 0, payload if kind == PING else b""))
            if kind == RESET or (kind == HEADERS and flags & END_STREAM):
                self._ended.release()
            if kind == GOAWAY:
                self._ended.release()
                return

    def close(self) -> None:
        """Hangs up, whatever is unsent."""
        self._writer.transport.abort()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns a frame."""
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def headers(stream: int, fields: Iterable[tuple[str, str]], flags: int = 0) -> bytes:
    """Returns the frame of ``fields``."""
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
    return frame(HEADERS, END_HEADERS | flags, stream, block)


def _text(value: str) -> bytes:
    """Returns a string literal without Huffman code."""
    raw = value.encode(errors="surrogateescape")  # a header field may be any bytes
    assert len(raw) < 127  # a longer one needs a second byte of length
    return bytes([len(raw)]) + raw
