"""Listening: whether this machine can listen on an address, and if it can't, why.

Checked before the models are loaded, and because gRPC doesn't say why it can't listen.
"""

from __future__ import annotations

import asyncio
import errno
import socket


class StartError(Exception):
    """The server can't start. The message says why, in one line."""


async def require_free(host: str, port: int, protocol: str, option: str) -> None:
    """Raises ``StartError`` if this machine can't listen on ``host`` and ``port``.

    Checked before the models are loaded, and because gRPC doesn't say why it can't listen.
    """
    is_free, unavailable = False, OSError()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, number, _, address in found:
            try:
                with socket.socket(family, kind, number) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                is_free = True
            except OSError as error:  # such as ::1 of localhost on a machine without IPv6
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
        if not is_free:
            raise unavailable
    except OSError as error:
        raise cannot_listen(host, port, protocol, explain(error, option)) from error


def cannot_listen(host: str, port: int, protocol: str, reason: str) -> StartError:
    """The error that says so."""
    return StartError(f"cannot listen on {bracketed(host)}:{port} for {protocol}: {reason}")


def explain(error: OSError, option: str) -> str:
    """Why this machine can't listen; ``option`` is the one that chooses the port."""
    if isinstance(error, socket.gaierror):
        return f"the host can't be resolved: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; choose another one with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine doesn't have that address"
    return error.strerror or str(error)


def bracketed(host: str) -> str:
    """``host`` as it stands before a colon and a port."""
    return f"[{host}]" if ":" in host else host
