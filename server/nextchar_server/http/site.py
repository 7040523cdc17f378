"""The site: the playground and the API of the HTTP port, with the parts of the server that they need.

Made by ``server``; the HTTP port opens it in its own thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from ..memory import Budget
from ..rpc.inside import Door
from ..rpc.port import http_requests
from ..settings.config import Config
from .api import make_api
from .asgi import Application, Bounds
from .pages import Page, read_pages

_VERSION = "1"
_ESCAPED = 3
"""How much longer JSON may be than the message that it says: a character as an escape."""


@dataclass(frozen=True)
class Site:
    """All that is behind the HTTP port, except metrics and probes."""

    app: Application
    door: Door
    budget: Budget
    rejected: Counter
    """Counts refusals."""
    pages: Mapping[str, Page]
    bounds: Bounds
    most_requests: int
    """Most requests of the API at once."""


def make_site(config: Config, door: Door, budget: Budget, rejected: Counter, *, most_bytes: int) -> Site:
    """Returns the site; ``most_bytes`` is the size of the largest message."""
    return Site(
        make_api(_VERSION, config.max_characters, config.http_cors_origin),
        door,
        budget,
        rejected,
        read_pages(),
        Bounds(_ESCAPED * most_bytes, config.message_timeout),
        http_requests(config.max_http_requests),
    )
