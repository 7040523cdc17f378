"""The connection to a server: how gRPC balances calls over its addresses, and how it notices that one has vanished.

Stands between the endpoint and the clients. ``AsyncClient`` and the load generator both open their channel here.
Invariant: no call waits for a server that is gone. One that answers no ping for 20 seconds, or takes more than ten to
accept a connection, or a name server that takes more than ten to answer, counts as unavailable.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc.aio

from .access import Access
from .endpoint import is_local
from .fork import claim_grpc, keep_at_fork

# Calls take turns over all addresses of the endpoint, and skip an address that doesn't answer.
_BALANCING: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
# They also skip one whose health service says that it takes no calls now: it is loading, or draining. A server without
# a health service counts as healthy.
_HEALTH_CHECKED = _BALANCING | {"healthCheckConfig": {"serviceName": ""}}

_OPTIONS = (
    # A ping after 10 s without a byte from the server, also while a call waits, and the end of the connection if
    # another 10 s bring no answer. A server that forbids such pings closes the connection, and gRPC then pings half as
    # often.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # the limit that counts with gRPC 1.85: a minute if left out
    ("grpc.http2.max_pings_without_data", 0),  # otherwise the third ping of a waiting call comes after a minute
    ("grpc.min_reconnect_backoff_ms", 10_000),  # how long connecting may take: 20 s if left out
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # two minutes if left out, in which a server that is back isn't noticed
    ("grpc.dns_ares_query_timeout", 10_000),  # two minutes if left out
    # How soon a name is looked up again if servers vanish: 30 s if left out, in which all those that are known may be
    # replaced, by a rolling restart for one.
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    ("grpc.max_receive_message_length", 256 * 2**20),  # above any score of a prompt's length: 4 MiB if left out
)


def open_channel(
    access: Access, target: str, *options: tuple[str, Any], health_checked: bool = True
) -> grpc.aio.Channel:
    """Opens a channel to ``target``, one of those of ``access``, with further gRPC ``options``.

    Unless it is ``health_checked``, calls also reach servers that say they take none. Raises ``RuntimeError`` outside
    an event loop or in a forked process that can't use gRPC.
    """
    asyncio.get_running_loop()  # outside a loop gRPC would bind the channel to one that never runs
    claim_grpc()
    config = json.dumps(_HEALTH_CHECKED if health_checked else _BALANCING)
    proxied = 0 if is_local(target) else 1
    options = (("grpc.service_config", config), ("grpc.enable_http_proxy", proxied), *_OPTIONS, *options)
    if not access.is_secure:
        return keep_at_fork(grpc.aio.insecure_channel(target, options=options))
    chain, key = access.identity or (None, None)
    credentials = keep_at_fork(grpc.ssl_channel_credentials(access.authorities, key, chain))
    return keep_at_fork(grpc.aio.secure_channel(target, credentials, options=options))
