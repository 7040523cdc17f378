"""The health service: whether the server takes new calls.

In place of the one that gRPC offers: there, one caller of ``Watch`` that doesn't read holds up every change of health.

A server that is about to drain is a lame duck for a while: it says that it doesn't serve, and serves.

Invariant: a change of health waits for no caller, and a drain for no watcher; a connection has a bounded number of
watches.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .errors import TooManyWatchesError
from .interceptor import Context

_Status: TypeAlias = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """``grpc.health.v1.Health``, for the whole server ("") and its services."""

    def __init__(self, *services: str, most_watches: int) -> None:
        """A connection may have ``most_watches`` calls of ``Watch``."""
        self._services = {"", *services}
        self._most_watches = most_watches
        self._failing = asyncio.Event()
        self._draining = asyncio.Event()
        self._watches: Counter[str] = Counter()  # by connection

    def fail(self) -> None:
        """Turns the health to NOT_SERVING for good."""
        self._failing.set()

    def drain(self) -> None:
        """Turns the health to NOT_SERVING for good, and ends all calls of ``Watch``."""
        self._failing.set()
        self._draining.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> _Status:
        """Returns the health of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self._health(request.service)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Sends the health of a service, and sends it again when it changes."""
        peer = context.peer()
        if self._watches[peer] >= self._most_watches:
            raise TooManyWatchesError(self._most_watches)
        self._watches[peer] += 1
        try:
            await context.write(self._health(request.service))
            if not self._failing.is_set():
                await self._failing.wait()
                await context.write(self._health(request.service))
            await self._draining.wait()
        finally:
            self._watches[peer] -= 1
            if not self._watches[peer]:
                del self._watches[peer]
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")

    def _health(self, service: str) -> _Status:
        if service not in self._services:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        return _Status(status=_Status.NOT_SERVING if self._failing.is_set() else _Status.SERVING)
