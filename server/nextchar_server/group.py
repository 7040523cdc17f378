"""The group: the ties of a worker to the other workers of a server. Made by ``workers.worker``, used by ``server``.

A server of one process has no group.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry


@dataclass(frozen=True)
class Group:
    """Ties to the other workers. Its functions are called on the event loop, except ``gather``."""

    registry: CollectorRegistry
    """Has the metrics of this worker alone."""
    token_keys: tuple[bytes, ...]
    """The keys of resume tokens, common to all workers."""
    may_open: Callable[[], Awaitable[object]]
    """Waits until the ports may be opened: when all workers have loaded their models."""
    opened: Callable[[int, int], object]
    """Tells that the ports of gRPC and HTTP are open."""
    gather: Callable[[str], Awaitable[bytes]]
    """Returns the metrics of all workers in the form that a scraper accepts. For any event loop."""
