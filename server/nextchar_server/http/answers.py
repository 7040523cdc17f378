"""The answers of the HTTP port.

Stands between ``port``, which reads requests, and what they ask for: metrics, probes, the files of the playground, and
the API. Scrapes wait for the next encoding of the metrics, which comes the later, the more work the last one made.

Invariant: a caller without a credential gets probes and files, and otherwise a refusal; scrapes take a thirtieth of a
core at most; a connection serves one request, unless it is of the API or for a file, and files only while the thread
is within its share.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ..metrics import HttpMetrics
from ..thread_share import ThreadShare
from .asgi import Bridge
from .connections import Connections
from .pages import Page
from .routes import LEFT, route_of, set_first_values

_ENCODING_PAUSE = 29.0  # pause between two encodings, in processor times of this thread since the first one began
_PROBES = ("/healthz", "/readyz")  # those who look after a container have no certificate
_OPEN_METRICS_TYPE = "application/openmetrics-text"
OPEN_METRICS = f"{_OPEN_METRICS_TYPE}; version=1.0.0; escaping=allow-utf-8"
"""The form in which scrapers that know OpenMetrics get the metrics. The server's names need no escapes, and any other
way to escape looks at each character, which takes twice as long."""

_API, _DOCUMENT = "/v1/", "/openapi.json"


class Answers:
    """The answers to requests."""

    def __init__(
        self,
        registry: CollectorRegistry,
        is_ready: Callable[[], bool],
        admits: Callable[[str, str | None], bool] | None,
        *,
        is_mutual: bool,
        gather: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        """``gather`` returns the metrics in the form that a scraper accepts; by default, those of ``registry``."""
        self._gather = gather or self._encode
        self._admits = admits
        self._is_mutual = is_mutual
        self._registry = registry
        self._counts = HttpMetrics(registry)
        set_first_values(self._counts)
        self._is_ready = is_ready
        self._turn = asyncio.Lock()
        self._encoded_at = 0.0  # loop time of the last encoding
        self._worked = 0.0  # processor time of the thread when it began
        self._next: dict[str, asyncio.Task[bytes]] = {}  # encodings that haven't begun, by the form
        self._share: ThreadShare | None = None
        self._pages: Mapping[str, Page] = {}
        self._api: tuple[Bridge, Connections] | None = None

    def begin(self, share: ThreadShare) -> None:
        """Says which share the thread has."""
        self._share = share

    def open_site(self, pages: Mapping[str, Page], bridge: Bridge, connections: Connections) -> None:
        """Answers for ``pages`` and the API, too."""
        self._pages = pages
        self._api = bridge, connections

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request, and counts it."""
        route, code, began = route_of(request.path, is_page=request.path in self._pages), "500", time.monotonic()
        try:
            response = await self._answered(request)
            code = str(response.status)
        except (OSError, asyncio.CancelledError):
            code = LEFT
            raise
        finally:
            self._counts.requests.labels(route, code).inc()
            self._counts.request_seconds.labels(route).observe(time.monotonic() - began)
        return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._api is not None and (request.path.startswith(_API) or request.path == _DOCUMENT):
            return await self._answer_api(request, *self._api)
        response = await self._answer(request)
        if not (request.path in self._pages and response.status in (200, 304) and self._may_go_on(request)):
            response.force_close()
        return response

    def _may_go_on(self, request: web.BaseRequest) -> bool:
        """Whether the connection may serve another request. A browser then needs a handful for all files."""
        if self._api is None or self._share is None or self._share.left() < 0:
            return False
        return self._api[1].may_serve_again(request.protocol)

    async def _answer_api(
        self, request: web.BaseRequest, bridge: Bridge, connections: Connections
    ) -> web.StreamResponse:
        if self._lacks_certificate(request):
            response: web.StreamResponse = _without_certificate()
        elif request.method == "OPTIONS" or not self._is_admitted(request):
            response = await bridge.answer(request, None)
        else:
            try:
                return await bridge.answer(request, lambda: connections.hold(request.protocol))
            finally:
                connections.let_go(request.protocol)
        response.force_close()
        return response

    def _lacks_certificate(self, request: web.BaseRequest) -> bool:
        return self._is_mutual and not request.get_extra_info("peercert")

    def _is_admitted(self, request: web.BaseRequest) -> bool:
        return self._admits is None or self._admits(request.path, request.headers.get("Authorization"))

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
        if request.path not in _PROBES and self._lacks_certificate(request):
            return _without_certificate()
        if (page := self._pages.get(request.path)) is not None:
            is_known = page.tag in request.headers.get("If-None-Match", "")
            return web.Response(
                status=304 if is_known else 200, body=None if is_known else page.content, headers=page.headers
            )
        if not self._is_admitted(request):
            return web.Response(
                status=401,
                text="this needs a valid token: Authorization: Bearer TOKEN\n",
                headers={"WWW-Authenticate": 'Bearer realm="nextchar"'},
            )
        match request.path:
            case "/metrics":
                return await self._metrics(request.headers.get("Accept", ""))
            case "/healthz":
                return web.Response(text="ok\n")
            case "/readyz" if self._is_ready():
                return web.Response(text="ready\n")
            case "/readyz":
                return web.Response(status=503, text="shutting down\n")
        return web.Response(status=404, text="there are /v1/, /openapi.json, /metrics, /healthz and /readyz\n")

    async def _metrics(self, accept: str) -> web.Response:
        """All scrapes that wait get the same encoding, which begins after they came."""
        # One form of each format, whatever versions and escapes a caller names: each is encoded by itself.
        accept = OPEN_METRICS if _OPEN_METRICS_TYPE in accept else ""
        if accept not in self._next:
            self._next[accept] = asyncio.create_task(self._encoded(accept))
        body = await asyncio.shield(self._next[accept])
        _, content_type = choose_encoder(accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _encoded(self, accept: str) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._turn:
            used = self._work() - self._worked  # by the last encoding, and by all requests since
            await asyncio.sleep(self._encoded_at + _ENCODING_PAUSE * used - loop.time())
            del self._next[accept]
            self._worked, self._encoded_at = self._work(), loop.time()
            return await self._gather(accept)

    async def _encode(self, accept: str) -> bytes:
        encode, _ = choose_encoder(accept)
        return encode(self._registry)

    def _work(self) -> float:
        """Returns the processor time of this thread, without that of the API."""
        return time.thread_time() - (0.0 if self._share is None else self._share.credited)


def _without_certificate() -> web.Response:
    return web.Response(status=403, text="this needs a client certificate\n")
