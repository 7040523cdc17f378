"""The servers of one client: a channel for each endpoint, over which calls take turns.

Stands between the channels and the clients. gRPC itself takes turns over the addresses of one endpoint (a DNS name, an
``ipv4:`` target); this takes turns over several endpoints, which gRPC can't join in one target if they are names.
Invariant: while one endpoint is connected, no call is sent to one that isn't.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from .access import Access
from .channel import open_channel

_RANKS = {grpc.ChannelConnectivity.READY: 0, grpc.ChannelConnectivity.TRANSIENT_FAILURE: 2}  # others: 1

_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
"""Without it, all channels of a process to one address share a connection, and so a worker of the server."""

_draw = random.Random()  # noqa: S311 - a turn is no secret


class Replicas:
    """The servers of ``access``, one or several, and a stub of each.

    ``make_stub`` makes the stub of a channel; ``options`` are further options of gRPC. Unless they are
    ``health_checked``, calls also reach servers that say they take none. Raises ``RuntimeError`` outside an event loop
    or in a forked process that can't use gRPC.

    A server that is named several times has as many connections.
    """

    def __init__(
        self,
        access: Access,
        make_stub: Callable[[grpc.aio.Channel], Any],
        *options: tuple[str, Any],
        health_checked: bool = True,
    ) -> None:
        if len(set(access.targets)) < len(access.targets):
            options = (*options, _OWN_CONNECTION)
        self._channels = [
            open_channel(access, target, *options, health_checked=health_checked) for target in access.targets
        ]
        self._stubs = [make_stub(channel) for channel in self._channels]
        self._turn = _draw.randrange(len(self._channels))  # clients that make one call each spread, too

    def __len__(self) -> int:
        return len(self._stubs)

    def stub(self) -> Any:
        """The stub whose turn it is, of those that are connected; of all of them while none is."""
        count = len(self._stubs)
        if count == 1:
            return self._stubs[0]
        order = [(self._turn + step) % count for step in range(count)]
        chosen = min(order, key=self._rank)
        self._turn = chosen + 1
        return self._stubs[chosen]

    async def close(self) -> None:
        """Ends all calls and closes the connections."""
        for channel in self._channels:
            await channel.close()

    def _rank(self, place: int) -> int:
        return _RANKS.get(self._channels[place].get_state(try_to_connect=True), 1)
