"""Ports that several processes of a server share, by SO_REUSEPORT.

The supervisor holds a port as long as the server lives, with sockets that are bound and don't listen, so that port 0 is
the same free port for all workers, and no one else takes it while a worker starts again. The kernel spreads connections
over the workers' sockets, which listen.

Invariant: a port that something else listens on is an error, although SO_REUSEPORT would let two servers of one user
share it: the kernel refuses whoever asks for a port without that option while others listen, and among servers that
start at the same time the name of a Unix socket decides, which only one of them can have.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack

from ..listening import Protocol, cannot_listen, require_free

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # such as ::1 of localhost on a machine without IPv6


def hold(host: str, port: int, protocol: Protocol, held: ExitStack) -> int:
    """Holds ``port`` on all addresses of ``host`` until ``held`` is closed, and returns its number.

    Raises ``StartError`` if this machine can't listen there, or if something else does.
    """
    asyncio.run(require_free(host, port, protocol))
    unavailable: OSError | None = None
    is_held = False
    try:
        for family, kind, number, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                holder = held.enter_context(socket.socket(family, kind, number))
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                holder.bind((address[0], port, *address[2:]))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                unavailable = error
                continue
            port = holder.getsockname()[1]  # if any port will do, the same one for all addresses
            claim = held.enter_context(socket.socket(socket.AF_UNIX))
            claim.bind(f"\0nextchar-server/{address[0]}/{port}")
            is_held = True
        if not is_held and unavailable is not None:
            raise unavailable
    except OSError as error:
        raise cannot_listen(host, port, protocol, error) from error
    return port
