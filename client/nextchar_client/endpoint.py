"""Where a server is: the endpoint that the library and the command take, and whether gRPC would read it right.

Imports no gRPC, so that the command's help needs none.
"""

from __future__ import annotations

import re

DEFAULT_ENDPOINT = "127.0.0.1:50051"
"""The address of a server on this machine that has its default port."""

# Without a port gRPC would silently take 443, and it takes an unknown scheme for a host name.
_ENDPOINT = re.compile(r"unix(-abstract)?:.+|(dns:(//[^/]*/)?|ipv4:|ipv6:)?[^/]+:\d+")
_WEB_ADDRESS = re.compile(r"\w+://(?P<rest>[^/]+).*")
_HOST = re.compile(r"[\w.-]+")


def endpoint_complaint(endpoint: str) -> str | None:
    """Returns what is wrong with ``endpoint``, with the remedy, or None if gRPC can use it.

    An endpoint is HOST:PORT or another target of gRPC (https://github.com/grpc/grpc/blob/master/doc/naming.md).
    """
    if not endpoint:
        return f"it is empty; it must be HOST:PORT, such as {DEFAULT_ENDPOINT}"
    if _ENDPOINT.fullmatch(endpoint):
        return None
    web = _WEB_ADDRESS.fullmatch(endpoint)
    if web and not endpoint.startswith("dns:"):
        rest = web["rest"] if _ENDPOINT.fullmatch(web["rest"]) else f"{web['rest']}:50051"
        return f"{endpoint!r} is a web address; it must be HOST:PORT, such as {rest}"
    if _HOST.fullmatch(endpoint):
        return f"{endpoint!r} has no port; it must be HOST:PORT, such as {endpoint}:50051"
    return f"{endpoint!r} is invalid; it must be HOST:PORT or another target of gRPC, such as dns:///HOST:PORT"
