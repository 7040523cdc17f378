"""The bridge from aiohttp, which reads and writes connections, to the API's framework, which speaks ASGI.

Called by ``port`` with each request of the API, once its caller may have an answer.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html. Invariant: a body is bounded; a large one is part of the
memory budget, and its parsing is paced; the processor time of admitted requests is credited to the thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import Counter
from starlette.requests import ClientDisconnect

from ..memory import Budget, Holding, MemoryFullError
from ..pacing import Pacer
from ..rpc.footprint import PER_MESSAGE_BYTE
from ..rpc.gate import AUTHORIZATION
from ..rpc.inside import Door, Metadata
from ..rpc.tracing import KEYS
from .errors import ApiError
from .leavers import Leavers
from .link import Link

_HEAVY_BYTES = 16 * 1024
"""Size from which the body of a request waits for its turn."""

_PARSING = 30e-9  # seconds of a processor for each byte: of a hostile body, estimated high
_AGAIN = 1.0  # seconds after which a caller that found no room should try again
_DROPPED = 4  # times the most that is read of a larger one, so that its caller reads the refusal

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]


@dataclass(frozen=True)
class Bounds:
    """The bounds of a request."""

    most_bytes: int
    """Of its body."""
    patience: float
    """Seconds in which its body must come."""


class Bridge:
    """Answers the requests of the API. Used on the loop of the HTTP port."""

    def __init__(
        self,
        app: Application,
        door: Door,
        bounds: Bounds,
        budget: Budget,
        rejected: Counter,
        credit: Callable[[float], None],
    ) -> None:
        """``rejected`` counts refusals, and ``credit`` gets the seconds of processor time that admitted requests take.

        Large bodies are in ``budget``.
        """
        self._app = app
        self._door = door
        self._bounds = bounds
        self._budget = budget
        self._rejected = rejected
        self._credit = credit
        self._pacer = Pacer()
        self._leavers = Leavers()

    async def answer(self, request: web.BaseRequest, hold: Callable[[], bool] | None) -> web.StreamResponse:
        """Answers ``request``.

        ``hold`` keeps its connection while the answer is made, and says whether it could. It is None if the caller has
        no credential.
        """
        if hold is None:
            return await self._run(request, b"", None)
        address, began = _address(request)[0], time.monotonic()
        if seconds := self._leavers.wait(address, began):
            self._rejected.labels("resets").inc()
            return _refusal(_held_back(seconds))
        is_cancelled = True
        try:
            answered: web.StreamResponse = await _Credited(self._admitted(request, hold), self._credit)
            is_cancelled = False
        finally:
            now = time.monotonic()
            self._leavers.count(address, now - began, now, is_cancelled=is_cancelled)
        return answered

    async def _admitted(self, request: web.BaseRequest, hold: Callable[[], bool]) -> web.StreamResponse:
        try:
            async with self._body(request) as body:
                if not hold():
                    raise self._busy("the server has as many requests of this API as it may", "queue_full")
                if len(body) > _HEAVY_BYTES:
                    async with self._pacer.piece(spent=_PARSING * len(body)):
                        pass
                return await self._run(request, body, self._link(request))
        except ApiError as error:
            return _refusal(error)

    @asynccontextmanager
    async def _body(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        """Reads the body of ``request``, and holds room for it meanwhile. Raises ``ApiError``."""
        most, size, body = self._bounds.most_bytes, 0, bytearray()
        room = _Room(Holding(self._budget, _peer(request)))
        room.require(min(request.content_length or 0, most))
        try:
            if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async with asyncio.timeout(self._bounds.patience):
                async for part in request.content.iter_any():
                    size += len(part)
                    if size > _DROPPED * most:
                        break
                    if size > max(room.size, _HEAVY_BYTES):
                        room.require(most)
                    if size <= most and room.refusal is None:
                        body += part
            if size > most:
                raise ApiError(413, f"the body has more than {most} bytes", "too_large")
            if room.refusal is not None:
                raise self._busy(str(room.refusal), "memory")
            yield bytes(body)
        except TimeoutError:
            raise ApiError(408, f"the body didn't come within {self._bounds.patience:g} s", "timeout") from None
        finally:
            room.holding.release()

    def _busy(self, message: str, reason: str) -> ApiError:
        self._rejected.labels(reason).inc()
        return ApiError(429, message, reason, None, "rate_limit_error", _AGAIN)

    def _link(self, request: web.BaseRequest) -> Link:
        metadata: Metadata = tuple(
            (key, value) for key in (AUTHORIZATION, *KEYS) for value in request.headers.getall(key, ())
        )
        transport = request.transport

        def abort() -> None:
            if transport is not None:
                transport.abort()

        return Link(self._door, _peer(request), metadata, abort)

    async def _run(self, request: web.BaseRequest, body: bytes, link: Link | None) -> web.StreamResponse:
        exchange = _Exchange(request, body)
        try:
            await self._app(_scope(request, link), exchange.receive, exchange.send)
        except (OSError, ClientDisconnect):  # the caller left: as if it had been noticed before the answer was written
            raise asyncio.CancelledError from None
        except Exception:
            _logger.exception("api_failed")
            if exchange.response is None or not exchange.response.prepared:
                return _refusal(ApiError(500, "internal error", "internal", None, "server_error"))
            if request.transport is not None:
                request.transport.abort()
        finally:
            if link is not None:
                link.close()
        assert exchange.response is not None
        return exchange.response


class _Room:
    """The memory for one body. Without any, the body is read all the same, so that its caller reads the refusal."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.size = 0
        """Bytes of the body for which there is room."""
        self.refusal: MemoryFullError | None = None

    def require(self, size: int) -> None:
        """Takes room for ``size`` bytes, if that is a large body."""
        if size <= max(self.size, _HEAVY_BYTES) or self.refusal is not None:
            return
        try:
            self.holding.require(PER_MESSAGE_BYTE * size)
            self.size = size
        except MemoryFullError as error:
            self.refusal = error


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: web.BaseRequest, body: bytes) -> None:
        self._request = request
        self._body: bytes | None = body
        self.response: web.StreamResponse | None = None
        self._start: dict[str, Any] = {}

    async def receive(self) -> dict[str, Any]:
        """Returns the body, and then nothing: who leaves is cancelled."""
        if self._body is None:
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        """Sends the beginning of the answer, or a part of its body. Waits if the caller reads slowly."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, is_more = message.get("body", b""), message.get("more_body", False)
        if self.response is None:
            headers = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in self._start["headers"]]
            if not is_more:
                self.response = web.Response(status=self._start["status"], body=body or None, headers=dict(headers))
                return
            self.response = web.StreamResponse(status=self._start["status"], headers=dict(headers))
            await self.response.prepare(self._request)
        if body:
            await self.response.write(body)
        if not is_more:
            await self.response.write_eof()


class _Credited(Awaitable[_Result]):
    """Awaits a coroutine and credits the processor time of its steps."""

    def __init__(self, coroutine: Any, credit: Callable[[float], None]) -> None:
        self._coroutine = coroutine
        self._credit = credit

    def __await__(self) -> Generator[Any, Any, _Result]:
        step, value = self._coroutine.send, None
        while True:
            began = time.thread_time()
            try:
                waited = step(value)
            except StopIteration as end:
                result: _Result = end.value
                return result
            finally:
                self._credit(time.thread_time() - began)
            try:
                step, value = self._coroutine.send, (yield waited)
            except BaseException as error:
                step, value = self._coroutine.throw, error


def _scope(request: web.BaseRequest, link: Link | None) -> dict[str, Any]:
    path, _, query = request.raw_path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": path.encode("latin-1", "replace"),
        "root_path": "",
        "query_string": query.encode("latin-1", "replace"),
        "headers": [(key.lower(), value) for key, value in request.raw_headers],
        "client": None,
        "server": None,
        "state": {"link": link},
    }


def _peer(request: web.BaseRequest) -> str:
    """Returns the caller's address and port, as the log has them."""
    host, port = _address(request)
    return f"http:[{host}]:{port}" if ":" in host else f"http:{host}:{port}"


def _address(request: web.BaseRequest) -> tuple[str, int]:
    address = request.get_extra_info("peername")
    return (address[0], address[1]) if isinstance(address, tuple) else ("unknown", 0)


def _refusal(error: ApiError) -> web.Response:
    response = web.json_response(error.content, status=error.status, headers=error.headers)
    response.force_close()  # the rest of its body may still come
    return response


def _held_back(seconds: float) -> ApiError:
    message = f"too many requests of this address were cancelled soon; come back in {seconds:.0f} s"
    return ApiError(429, message, "resets", None, "rate_limit_error", seconds)
