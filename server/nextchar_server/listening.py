"""Listening: whether this machine can listen on an address, and if it can't, why.

Checked before the models are loaded, and because gRPC doesn't say why it can't listen.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
from contextlib import suppress
from typing import Literal

_PRIVILEGED = 1024
"""Ports below this one need a privilege on most machines."""

_REASONS = {
    errno.EADDRNOTAVAIL: "this machine doesn't have that address; --host takes one of its own, such as 127.0.0.1 "
    "(callers on this machine) or 0.0.0.0 (callers from anywhere)",
    errno.EAFNOSUPPORT: "this machine has no addresses of that family, IPv4 or IPv6",
    errno.EINVAL: "no interface has that address; one that starts with fe80 needs its interface, such as fe80::1%eth0",
    errno.EMFILE: "the process has too many files open; raise its limit (ulimit -n)",
    errno.ENFILE: "the machine has too many files open",
}


Protocol = Literal["gRPC", "HTTP"]


class StartError(Exception):
    """The server can't start. The message says why, in one line."""


def plain_host(host: str) -> str:
    """Returns ``host`` without the brackets that IPv6 addresses have before a port.

    Raises ``ValueError`` if it is no host but, say, a URL.
    """
    if re.fullmatch(r"\[[^][]+\]", host):
        return host[1:-1]
    if host.startswith(("unix:", "unix-abstract:", "vsock:", "/", "@")):
        raise ValueError(f"{host!r} is not served, only TCP is; give a name or an IP address of this machine")
    if "://" in host:
        raise ValueError(f"{host!r} is a URL; give a name or an IP address alone")
    if re.fullmatch(r"[^:]*:\d+|\[.*\]:\d+", host):
        raise ValueError(f"{host!r} has a port; give that with --grpc-port or --http-port")
    if host == "*":
        raise ValueError("'*' is invalid; 0.0.0.0 stands for every IPv4 address of this machine, and :: for all")
    if not host.isprintable() or set(host) & set(" []"):
        raise ValueError(f"{host!r} holds a character that no name and no address has")
    _check_address(host)
    return host


def _check_address(host: str) -> None:
    """Raises ``ValueError`` if ``host`` is an address to which nobody can connect, or in a form unknown to gRPC."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        with suppress(OSError):  # a name
            raise ValueError(f"{host!r} is short for {socket.inet_ntoa(socket.inet_aton(host))}; write that") from None
        return
    if address.is_multicast or address == ipaddress.ip_address("255.255.255.255"):
        raise ValueError(f"{host!r} stands for several machines; give an address of this one")


async def require_free(host: str, port: int, protocol: Protocol) -> None:
    """Raises ``StartError`` if this machine can't listen on ``host`` and ``port``."""
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
    except (OSError, UnicodeError) as error:
        raise cannot_listen(host, port, protocol, error) from error


def cannot_listen(host: str, port: int, protocol: Protocol, error: Exception) -> StartError:
    """The error that says that this machine can't listen on ``host`` and ``port``, because of ``error``, and why."""
    reason = _reason(error, port, f"--{protocol.lower()}-port")
    return StartError(f"cannot listen on {bracketed(host)}:{port} for {protocol}: {reason}")


def _reason(error: Exception, port: int, option: str) -> str:
    if isinstance(error, UnicodeError):  # such as a name with two dots in a row
        return f"the host can't be a name or an address: {error}"
    if not isinstance(error, OSError):  # gRPC's, which doesn't say more; the address was free a moment ago
        return f"gRPC can't use that address, or the port was taken meanwhile; choose another one with {option}"
    if isinstance(error, socket.gaierror):
        return f"the host can't be resolved: {error.strerror}; --host takes a name or an address of this machine"
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; choose another one with {option}"
    if error.errno in (errno.EACCES, errno.EPERM):
        if port < _PRIVILEGED:
            return f"this user may not listen on a port below {_PRIVILEGED}; choose a higher one with {option}"
        return f"this user may not listen on that port; choose another one with {option}"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def bracketed(host: str) -> str:
    """``host`` as it stands before a colon and a port."""
    return f"[{host}]" if ":" in host else host
