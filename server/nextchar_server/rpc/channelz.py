"""Channelz: the counts that gRPC itself keeps of each connection.

Source: https://github.com/grpc/proposal/blob/master/A14-channelz.md. They count calls that gRPC never shows to a
server, such as those that were cancelled while they waited for a handler.

Relies on names of grpcio that are not public; ``tests/server/rpc/test_channelz.py`` fails if they change.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from grpc._cython import cygrpc  # type: ignore[attr-defined]

_NAME = "chttp2 "  # before the peer, in the name of a connection


def server_ids() -> set[int]:
    """Returns the numbers of all gRPC servers of this process."""
    found: set[int] = set()
    while True:
        page = json.loads(cygrpc.channelz_get_servers(max(found, default=-1) + 1))
        found |= {int(server["ref"]["serverId"]) for server in page.get("server", ())}
        if page.get("end", True):
            return found


def connections(server: int) -> dict[int, str]:
    """Returns the peer of each connection of ``server``, as a call's context names it, by the connection's number."""
    found: dict[int, str] = {}
    while True:
        page = json.loads(cygrpc.channelz_get_server_sockets(server, max(found, default=-1) + 1, 0))
        found |= {int(ref["socketId"]): ref["name"].removeprefix(_NAME) for ref in page.get("socketRef", ())}
        if page.get("end", True):
            return found


class Calls(NamedTuple):
    """The calls of one connection that have ended."""

    failed: int
    """Before their time."""
    succeeded: int


NO_CALLS = Calls(0, 0)


def calls_of(connection: int) -> Calls | None:
    """Returns the calls of ``connection`` so far; None if it is gone."""
    try:
        data: dict[str, Any] = json.loads(cygrpc.channelz_get_socket(connection))["socket"]["data"]
    except ValueError:
        return None
    return Calls(int(data["streamsFailed"]), int(data["streamsSucceeded"]))
