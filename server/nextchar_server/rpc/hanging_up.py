"""Hanging up on one connection, which gRPC has no method for.

gRPC owns the sockets of its connections. A socket is found by the address of its peer among the open files of the
process, and shut down as if the peer had left.

Invariant: no connection with another peer is touched.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import unquote

_FILES = Path("/dev/fd")  # the open files of this process, on Linux and macOS

_Address = tuple[IPv4Address | IPv6Address, int]


def hang_up(peer: str) -> bool:
    """Ends the connection of ``peer``, as gRPC names it, such as ``ipv4:127.0.0.1:4711``. Returns whether there is one.

    Takes some ms, so it isn't for the event loop.
    """
    address = _address(peer)
    if address is None:
        return False
    for entry in _FILES.iterdir():
        with suppress(OSError):  # closed meanwhile, or without a peer
            file = os.dup(int(entry.name))  # so that it can't become another one between the look and the shutdown
            try:
                if stat.S_ISSOCK(os.fstat(file).st_mode) and _is_of(file, address):
                    return True
            finally:
                os.close(file)
    return False


def _is_of(file: int, address: _Address) -> bool:
    """Shuts the socket ``file`` down if its peer is ``address``, and returns whether it is."""
    connection = socket.socket(fileno=file)
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        host, port = connection.getpeername()[:2]
        if (_plain(host), port) != address:
            return False
        connection.shutdown(socket.SHUT_RDWR)
        return True
    finally:
        connection.detach()


def host_of(peer: str) -> str:
    """Returns the host of a peer as gRPC names it; all of it if it has none."""
    return peer.rpartition(":")[0] or peer


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
