"""The connection to a server: how gRPC balances calls over its addresses, and which calls it retries.

Stands between the endpoint and the clients. ``AsyncClient`` and the load generator both open their channel here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc.aio

from .endpoint import endpoint_complaint
from .errors import InvalidArgumentError

SERVICE_CONFIG = {
    # Calls take turns over all addresses of the endpoint, and skip an address that doesn't answer.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            # Not the health service: a health check must see the server as it is.
            "name": [{"service": "nextchar.v1.GenerationService"}],
            "retryPolicy": {
                # gRPC retries a call only while the server has sent nothing for it, not even headers. That is safe:
                # generating has no side effect. A server can set the pause in `grpc-retry-pushback-ms`, or forbid the
                # retry with a negative one.
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
            },
        }
    ],
}
"""How gRPC itself balances and retries: https://github.com/grpc/grpc/blob/master/doc/service_config.md."""


def open_channel(endpoint: str, *options: tuple[str, Any]) -> grpc.aio.Channel:
    """Opens a channel to ``endpoint`` with ``SERVICE_CONFIG`` and further gRPC ``options``.

    Raises ``InvalidArgumentError`` if the endpoint is malformed, ``RuntimeError`` outside an event loop.
    """
    complaint = endpoint_complaint(endpoint)
    if complaint:
        raise InvalidArgumentError(f"endpoint: {complaint}")
    asyncio.get_running_loop()  # outside a loop gRPC would bind the channel to one that never runs
    return grpc.aio.insecure_channel(endpoint, options=[("grpc.service_config", json.dumps(SERVICE_CONFIG)), *options])
