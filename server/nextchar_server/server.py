"""The server: joins the parts, opens the ports, and closes everything in order.

model files → versions → catalog → service → gRPC port               (calls come in)
                           └→ metrics → HTTP port                    (scrapes and probes come in)

Invariant: the event loop is free while models are loaded; each step of the end has a time limit, and all of them
together take no longer than the lame duck, the drain timeout and ``signals.MARGIN``.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from prometheus_client import CollectorRegistry

from nextchar.v1 import generation_pb2, generation_pb2_grpc

from .group import Group
from .http.port import HttpPort
from .http.site import make_site
from .listening import bracketed, cannot_listen, require_free
from .logs import logs
from .loop_delay import observe_delay
from .memory import Budget
from .metrics import Metrics, ServerMetrics, TlsMetrics, TracingMetrics
from .pacing import Pacer
from .rpc.calls import Calls
from .rpc.first_values import set_first_values
from .rpc.gate import Gate
from .rpc.health import HealthService
from .rpc.incoming import Incoming
from .rpc.inside import Door
from .rpc.interceptor import CallInterceptor
from .rpc.port import make_server
from .rpc.reflection import add_reflection
from .rpc.resets import Resets
from .rpc.service import LAST_WORDS, GenerationService
from .rpc.spans import Spans
from .rpc.token_keys import TokenKeys, load_keys, log_keys
from .rpc.tokens import Tokens
from .settings.config import Config
from .tls.renewal import Tls
from .tracing.export import Export
from .tracing.variables import asked_by
from .versions.versions import Versions
from .watching import Watch

SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name

_FLUSHING = 1.0
"""Seconds in which the last messages reach their callers; ``_LEAST_FLUSHING`` if the drain timeout has passed."""

_LEAST_FLUSHING = 0.3
_STEP = 0.2  # seconds for each later step of the end
_WITHOUT_END = 10**7

_log = structlog.get_logger()


@dataclass(frozen=True)
class Ports:
    """The ports on which the server listens."""

    grpc: int
    http: int


@dataclass(frozen=True)
class _Parts:
    """The parts of a server that was started."""

    versions: Versions
    service: GenerationService
    health: HealthService
    resets: Resets
    grpc: grpc.aio.Server
    door: Door
    http: HttpPort


class Server:
    """One server. Call ``start``, then ``stop``, on one event loop."""

    def __init__(
        self, config: Config, registry: CollectorRegistry | None = None, *, group: Group | None = None
    ) -> None:
        """Reads the files of callers, if there are any. A worker has a ``group``. Raises ``StartError``."""
        self._config = config
        self._group = group
        self._metrics = Metrics(registry or CollectorRegistry())
        self._metrics.watch_log(logs.dropped)
        self._budget = Budget(config.memory_budget * 2**20)
        self._metrics.memory_bytes.set_function(lambda: self._budget.used)
        self._metrics.memory_budget_bytes.set(self._budget.size)
        self._parts: _Parts | None = None  # None before ``start`` and after ``stop``
        self._own_metrics = ServerMetrics(self._metrics.registry)
        self._own_metrics.draining.set_function(lambda: self._parts is not None and not self._ready)
        set_first_values(self._metrics)
        self._watch = Watch()
        self._versions = Versions(config, self._metrics)
        files = config.certificate_files
        self._tls = None if files is None else Tls(files, TlsMetrics(self._metrics.registry))
        self._gate = Gate(config, self._watch, self._metrics) if config.has_callers else None
        self._export: Export | None = None
        self._ready = False
        self._hurried = asyncio.Event()
        self._texts_end_by = 0.0  # of the loop's time, once it stops

    async def start(self) -> Ports:
        """Loads the models and opens the ports. Once it returns, calls are served.

        Raises ``ModelFileError``, ``ProviderError`` or ``StartError``, and then leaves nothing open.
        """
        config = self._config
        group = self._group
        if group is None:
            await require_free(config.host, config.grpc_port, "gRPC")
            await require_free(config.host, config.http_port, "HTTP")
        if self._tls is not None:
            await self._tls.start(self._watch)
        self._watch.add(self._versions.paths, self._versions.refresh)
        keys = load_keys(config.token_key_file, os.environ) if group is None else group.token_keys
        self._export = Export(TracingMetrics(self._metrics.registry)) if asked_by(os.environ) else None
        try:
            await self._versions.start()
        except BaseException:
            await self._end_spans()
            raise
        if group is None:
            log_keys(keys, config.token_key_file, os.environ)
        parts = self._assemble(keys)
        try:
            if group is not None:
                await group.may_open()
            ports = await self._open(parts)
        except BaseException:
            await self._close(parts, 0)
            raise
        # All present objects stay for good: without this, each full garbage collection scans them for tens of ms.
        gc.collect()
        gc.freeze()
        self._watch.start()
        self._delays = asyncio.create_task(observe_delay(self._own_metrics.loop_delay_seconds))
        self._parts = parts
        self._ready = True
        if group is None:
            is_tls = self._tls is not None
            _log.info("serving", host=config.host, grpc_port=ports.grpc, http_port=ports.http, tls=is_tls)
        else:
            group.opened(ports.grpc, ports.http)
        return ports

    async def stop(self) -> None:
        """Drains, then closes everything. Does nothing if the server isn't started.

        At once, the health becomes NOT_SERVING. When the server has been a lame duck for its time, every connection is
        told to go away, and new texts are refused; running texts have the drain timeout to finish.
        """
        parts = self._parts
        if parts is None:
            return
        loop = asyncio.get_running_loop()
        self._ready = False
        parts.health.fail()
        await self._be_lame_duck()
        patience = 0.0 if self._hurried.is_set() else self._config.drain_timeout
        self._texts_end_by = loop.time() + patience + LAST_WORDS
        _log.info("draining", timeout=patience, hint="a second signal ends running streams at once")
        parts.health.drain()
        await self._watch.stop()
        if self._tls is not None:
            self._tls.stop()
        draining = asyncio.create_task(parts.service.drain(patience))
        leaving = asyncio.create_task(parts.grpc.stop(_WITHOUT_END))
        await draining
        await self._close(parts, min(max(self._texts_end_by - loop.time(), _LEAST_FLUSHING), _FLUSHING))
        leaving.cancel()
        self._delays.cancel()
        self._parts = None
        _log.info("stopped")

    def hurry(self) -> None:
        """Makes ``stop`` end all running streams now, with ``FINISH_REASON_DRAINING``."""
        self._hurried.set()
        if self._parts is not None:
            self._texts_end_by = min(self._texts_end_by, asyncio.get_running_loop().time() + LAST_WORDS)
            self._parts.service.hurry()

    async def _be_lame_duck(self) -> None:
        """Serves, though health says NOT_SERVING, so that balancers send no more calls; until ``hurry`` at most."""
        if (seconds := self._config.lame_duck) > 0:
            _log.info("lame_duck", seconds=seconds, hint="calls are still taken; a second signal ends everything")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), seconds)

    def reload(self) -> None:
        """Reads certificates, callers and models again, if they come from files."""
        self._watch.look_now()

    def _assemble(self, keys: TokenKeys) -> _Parts:
        config, versions, pacer = self._config, self._versions, Pacer()
        service = GenerationService(versions.catalog, self._metrics, pacer, Tokens(keys))
        health_service = HealthService(SERVICE, most_watches=config.max_watches_per_connection)
        incoming = Incoming(
            pacer,
            lambda: versions.most_fields,
            versions.most_bytes,
            patience=config.message_timeout,
            pause=config.stall_timeout,
        )
        calls = Calls(self._budget, stall_timeout=config.stall_timeout)
        resets = Resets(self._metrics.rejected)
        spans = None if self._export is None else Spans(self._export.spans)
        interceptor = CallInterceptor(self._metrics, incoming, calls, resets, self._gate, spans)
        group = self._group
        grpc_server = make_server(
            interceptor, resets, config, max_request=versions.most_bytes, is_shared=group is not None
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(service, grpc_server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(health_service, grpc_server)
        add_reflection(grpc_server, (SERVICE, health.SERVICE_NAME))
        door = Door(interceptor, service)
        http = HttpPort(
            self._metrics.registry,
            lambda: self._ready,
            most_connections=config.max_http_connections,
            tls=self._tls,
            admits=None if self._gate is None else self._gate.admits,
            site=make_site(config, door, self._budget, self._metrics.rejected, most_bytes=versions.most_bytes),
            gather=None if group is None else group.gather,
        )
        return _Parts(versions, service, health_service, resets, grpc_server, door, http)

    async def _open(self, parts: _Parts) -> Ports:
        config = self._config
        try:
            address = f"{bracketed(config.host)}:{config.grpc_port}"
            grpc_port = (
                parts.grpc.add_insecure_port(address)
                if self._tls is None
                else parts.grpc.add_secure_port(address, self._tls.credentials())
            )
        except RuntimeError as error:
            raise cannot_listen(config.host, config.grpc_port, "gRPC", error) from error
        try:
            http_port = await parts.http.open(config.host, config.http_port)
        except OSError as error:
            raise cannot_listen(config.host, config.http_port, "HTTP", error) from error
        await parts.grpc.start()
        return Ports(grpc_port, http_port)

    async def _end_spans(self) -> None:
        if self._export is not None:
            await _within(2 * _STEP, "spans", self._export.close())

    async def _close(self, parts: _Parts, flushing: float) -> None:
        """Closes everything; calls that haven't ended after ``flushing`` seconds are cancelled."""
        await _within(_STEP, "resets", parts.resets.stop())
        await _within(flushing + _STEP, "calls", asyncio.gather(parts.grpc.stop(flushing), parts.door.close(flushing)))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._end_spans())
            await _within(_STEP, "lanes", asyncio.to_thread(parts.versions.stop))
            await _within(_STEP, "http", parts.http.close())


async def _within(seconds: float, step: str, work: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("step_overran", step=step, seconds=seconds)
