"""Where servers are: the endpoints that the library and the command take, and whether gRPC would read them right.

Imports no gRPC, so that the command's help needs none.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import unquote

DEFAULT_ENDPOINT = "127.0.0.1:50051"
"""The address of a server on this machine that has its default port."""

_HIGHEST_PORT = 65_535
# Without a port gRPC would silently take 443, and it takes an unknown scheme for a host name.
_ENDPOINT = re.compile(r"unix(-abstract)?:.+|(dns:(//[^/\s]*/)?|ipv4:|ipv6:)?(?P<addresses>[^/\s]+:[0-9]+)")
_PORT = re.compile(r":([0-9]+)(?=,|$)")
_WEB_ADDRESS = re.compile(r"\w+://(?P<rest>[^/]+).*")
_SECURE = re.compile(r"(?P<scheme>grpcs://|https://)(?P<address>.*)", re.DOTALL)
_ADDRESS = re.compile(r"(\[[^]/\s]+\]|[^][/\s:@]+):(?P<port>[0-9]+)")
_HOST = re.compile(r"[\w.-]+")
_LOCAL_NAMES = {"localhost", "ip6-localhost", "ip6-loopback"}
_WHOLE = ("ipv4:", "ipv6:", "unix:", "unix-abstract:")  # gRPC itself takes turns over addresses of one target


def endpoints_of(endpoint: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the endpoints in ``endpoint``: a text with commas between them, or a sequence of such texts.

    A target of gRPC that has commas of its own, such as ``ipv4:10.0.0.1:50051,10.0.0.2:50051``, stays whole.
    """
    endpoints: list[str] = []
    for text in [endpoint] if isinstance(endpoint, str) else endpoint:
        endpoints += [text] if text.startswith(_WHOLE) else text.split(",")
    return tuple(endpoints) or ("",)


def target_of(endpoint: str) -> tuple[str, bool]:
    """Returns the target of gRPC that ``endpoint`` names, and whether it asks for TLS by ``grpcs://`` or ``https://``."""
    secure = _SECURE.fullmatch(endpoint)
    return (endpoint, False) if secure is None else (secure["address"], True)


def endpoint_complaint(endpoint: str) -> str | None:
    """Returns what is wrong with ``endpoint``, with the remedy, or None if the client can use it.

    An endpoint is HOST:PORT, the same with TLS (grpcs://HOST:PORT or https://HOST:PORT), or another target of gRPC
    (https://github.com/grpc/grpc/blob/master/doc/naming.md).
    """
    if secure := _SECURE.fullmatch(endpoint):
        return _secure_complaint(endpoint, secure["scheme"], secure["address"])
    if not endpoint:
        return f"it is empty; it must be HOST:PORT, such as {DEFAULT_ENDPOINT}"
    if match := _ENDPOINT.fullmatch(endpoint):
        ports = _PORT.findall(match["addresses"] or "")
        if all(map(_is_port, ports)):
            return None
        return f"{endpoint!r} has a port outside 1 to {_HIGHEST_PORT}"
    web = _WEB_ADDRESS.fullmatch(endpoint)
    if web and not endpoint.startswith("dns:"):
        rest = web["rest"] if _ENDPOINT.fullmatch(web["rest"]) else f"{web['rest']}:50051"
        return f"{endpoint!r} is a web address; it must be HOST:PORT, such as {rest}"
    if _HOST.fullmatch(endpoint):
        return f"{endpoint!r} has no port; it must be HOST:PORT, such as {endpoint}:50051"
    return f"{endpoint!r} is invalid; it must be HOST:PORT or another target of gRPC, such as dns:///HOST:PORT"


def is_local(target: str) -> bool:
    """Whether ``target``, or one of its addresses, is of this machine by its form, so that no proxy can reach it."""
    addresses = addresses_of(target)
    return addresses is not None and (not addresses or any(_is_loopback(host) for host, _ in addresses))


def stays_here(target: str) -> bool:
    """Whether all that is sent to ``target`` stays on this machine, whichever of its addresses is used."""
    addresses = addresses_of(target)
    asked = target.startswith("dns://") and not target.startswith("dns:///")  # another machine names the address
    return addresses is not None and not asked and all(_is_loopback(host) for host, _ in addresses)


def addresses_of(target: str) -> list[tuple[str, int]] | None:
    """Returns host and port of each address of ``target``: none of a Unix socket; None if ``target`` is malformed."""
    match = _ENDPOINT.fullmatch(unquote(target))
    if match is None:
        return None
    addresses = (match["addresses"] or "").split(",") if match["addresses"] else []
    parts = [address.rpartition(":") for address in addresses]
    return [(host.strip("[]"), int(port)) for host, _, port in parts]


def _secure_complaint(endpoint: str, scheme: str, address: str) -> str | None:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        name = address.partition("/")[0]
        example = name if _ADDRESS.fullmatch(name) else f"{name if _HOST.fullmatch(name) else 'localhost'}:50051"
        return f"{endpoint!r} is invalid; it must be {scheme}HOST:PORT, such as {scheme}{example}"
    return None if _is_port(match["port"]) else f"{endpoint!r} has a port outside 1 to {_HIGHEST_PORT}"


def _is_port(digits: str) -> bool:
    return len(digits) < 9 and 0 < int(digits) <= _HIGHEST_PORT


def _is_loopback(host: str) -> bool:
    host = host.strip("[]").lower().rstrip(".")
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))  # short forms, such as 127.1
        except (OSError, UnicodeEncodeError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified
