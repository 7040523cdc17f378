"""The routes under which requests to the HTTP port are counted.

Callers choose paths freely, so all that the server doesn't have are one route, and so are the files of the playground.

Invariant: there are no routes but those of ``FIRST_CODES``, and no codes but those that the server sends and ``LEFT``.
"""

from __future__ import annotations

from ..metrics import HttpMetrics

LEFT = "499"
"""Code of a request whose caller left before its answer was whole, as proxies have it."""

_MODEL, _PAGE, _OTHER = "/v1/models/{model}", "page", "other"
_API = ("200", "400", "429", "500", "503", LEFT)
FIRST_CODES = {
    "/v1/completions": _API,
    "/v1/score": _API,
    "/v1/models": ("200",),
    _MODEL: ("200", "404"),
    "/openapi.json": ("200",),
    "/metrics": ("200",),
    "/healthz": ("200",),
    "/readyz": ("200", "503"),
    _PAGE: ("200", "304"),
    _OTHER: ("404",),
}
"""The routes, each with the codes whose counters exist from the start."""


def set_first_values(metrics: HttpMetrics) -> None:
    """Makes the counters, at 0."""
    for route, codes in FIRST_CODES.items():
        metrics.request_seconds.labels(route)
        for code in codes:
            metrics.requests.labels(route, code)


def route_of(path: str, *, is_page: bool) -> str:
    """Returns the route of a request for ``path``, which may be the path of a file of the playground."""
    if is_page:
        return _PAGE
    if path.startswith("/v1/models/"):
        return _MODEL
    return path if path in FIRST_CODES and path.startswith("/") else _OTHER
