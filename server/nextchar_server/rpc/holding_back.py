"""Holding back one connection: for a while, nothing that its peer sends comes in.

gRPC owns the sockets of its connections, and reads them as fast as they are filled. A socket is found by the address
of its peer among the open files of the process. While a filter on it drops all segments with data, the peer's system
repeats them, ever more slowly, so nothing is lost and the peer can't send more. The server's own data still goes out.

Invariant: no connection with another peer is touched.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import unquote

_FILES = Path("/dev/fd")  # the open files of this process, on Linux and macOS

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # of Linux; Python has no names for them

# Instructions of the kernel's packet filter (https://docs.kernel.org/networking/filter.html): a segment whose length is
# that of its TCP header, four times the upper half of its byte 12, is kept, and every other one dropped. So
# acknowledgements come in, of which the server's own sending depends.
_DATA_FREE_ONLY = (
    (0x30, 0, 0, 12),  # ldb [12]
    (0x54, 0, 0, 0xF0),  # and #0xf0
    (0x74, 0, 0, 2),  # rsh #2
    (0x07, 0, 0, 0),  # tax
    (0x80, 0, 0, 0),  # ld len
    (0x1D, 0, 1, 0),  # jeq x
    (0x06, 0, 0, 0xFFFFFFFF),  # ret: keep
    (0x06, 0, 0, 0),  # ret: drop
)

_Address = tuple[IPv4Address | IPv6Address, int]


def hold_back(peer: str) -> bool:
    """Holds the connection of ``peer`` back, as gRPC names it, such as ``ipv4:127.0.0.1:4711``.

    On systems without such filters, it ends the connection instead. Returns whether there is one. Takes some ms, so it
    isn't for the event loop.
    """
    return _found(peer, _filter)


def let_go(peer: str) -> bool:
    """Ends a ``hold_back``. Returns whether there is a connection of ``peer``."""
    return _found(peer, _unfilter)


def _filter(connection: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DATA_FREE_ONLY))
    try:
        if sys.platform != "linux":
            raise OSError
        program = struct.pack("HP", len(_DATA_FREE_ONLY), ctypes.addressof(code))
        connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        connection.shutdown(socket.SHUT_RDWR)


def _unfilter(connection: socket.socket) -> None:
    if sys.platform == "linux":
        connection.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _found(peer: str, act: Callable[[socket.socket], None]) -> bool:
    address = _address(peer)
    if address is None:
        return False
    for entry in _FILES.iterdir():
        with suppress(OSError):  # closed meanwhile, or without a peer
            file = os.dup(int(entry.name))  # so that it can't become another one between the look and the act
            try:
                if stat.S_ISSOCK(os.fstat(file).st_mode) and _is_of(file, address, act):
                    return True
            finally:
                os.close(file)
    return False


def _is_of(file: int, address: _Address, act: Callable[[socket.socket], None]) -> bool:
    """Acts on the socket ``file`` if its peer is ``address``, and returns whether it is."""
    connection = socket.socket(fileno=file)
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        host, port = connection.getpeername()[:2]
        if (_plain(host), port) != address:
            return False
        act(connection)
        return True
    finally:
        connection.detach()


def _address(peer: str) -> _Address | None:
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    try:
        return (_plain(host.strip("[]")), int(port)) if kind in ("ipv4", "ipv6") else None
    except ValueError:
        return None


def _plain(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address
