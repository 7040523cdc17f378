"""A name server on this machine, of which every name has the addresses that a test sets."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

_A, _CLASS_IN = 1, 1
_ANSWER, _NAME_OF_QUESTION = 0x8180, 0xC00C  # RFC 1035, sections 4.1.1 and 4.1.4


class NameServer(asyncio.DatagramProtocol):
    """Listens on a free port while it is entered."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers a question for addresses with them, and any other one with none."""
        assert self._transport is not None
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
        found = self.addresses if kind == _A else ()
        records = [
            struct.pack(">HHHIH", _NAME_OF_QUESTION, _A, _CLASS_IN, 0, 4) + socket.inet_aton(address)
            for address in found
        ]
        head = data[:2] + struct.pack(">HHHHH", _ANSWER, 1, len(records), 0, 0)
        self._transport.sendto(head + data[12:end] + b"".join(records), addr)
