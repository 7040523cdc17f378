"""The server: joins the parts, opens the ports, and closes everything in order.

model files → runners → engines → catalog → service → gRPC port      (calls come in)
                           └→ metrics → HTTP port                    (scrapes and probes come in)

Invariant: the event loop is free while models are loaded; each step of the end has a time limit, and all of them
together take no longer than the drain timeout and ``signals.MARGIN``.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from nextchar.v1 import generation_pb2, generation_pb2_grpc
from nextchar_model.runner import Replay, Runner

from . import logs, signals
from .catalog import Catalog, Limits, ServedModel
from .config import Config
from .engine.engine import Engine
from .listening import bracketed, cannot_listen, require_free
from .memory import Budget
from .metrics import Metrics, TlsMetrics
from .pacing import Pacer
from .ports import make_server
from .probes import HttpPort
from .rpc import requests
from .rpc.calls import Calls
from .rpc.health import HealthService
from .rpc.incoming import Incoming
from .rpc.interceptor import CallInterceptor
from .rpc.resets import Resets
from .rpc.service import LAST_WORDS, GenerationService
from .rpc.tokens import Tokens
from .tls import Tls
from .token_keys import TokenKeys, load_keys
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

    catalog: Catalog
    service: GenerationService
    health: HealthService
    resets: Resets
    grpc: grpc.aio.Server
    http: HttpPort


class Server:
    """One server. Call ``start``, then ``stop``, on one event loop."""

    def __init__(self, config: Config, registry: CollectorRegistry | None = None) -> None:
        self._config = config
        self._limits = Limits(config.max_characters, config.max_prompt_characters)
        self._metrics = Metrics(registry or CollectorRegistry())
        self._metrics.watch_log(logs.dropped)
        self._budget = Budget(config.memory_budget * 2**20)
        self._metrics.memory_bytes.set_function(lambda: self._budget.used)
        self._metrics.memory_budget_bytes.set(self._budget.size)
        self._parts: _Parts | None = None  # None before ``start`` and after ``stop``
        self._watch = Watch()
        files = config.certificate_files
        self._tls = None if files is None else Tls(files, TlsMetrics(self._metrics.registry))
        self._ready = False
        self._texts_end_by = 0.0  # of the loop's time, once it stops

    async def start(self) -> Ports:
        """Loads the models and opens the ports. Once it returns, calls are served.

        Raises ``ModelFileError``, ``ProviderError`` or ``StartError``, and then leaves nothing open.
        """
        config = self._config
        await require_free(config.host, config.grpc_port, "gRPC")
        await require_free(config.host, config.http_port, "HTTP")
        if self._tls is not None:
            await self._tls.start(self._watch)
        loaded = await asyncio.to_thread(_load, config)
        keys = load_keys(config.token_key_file, os.environ)
        catalog = Catalog([self._make_model(name, runner, replay) for name, (runner, replay) in loaded.items()])
        parts = self._assemble(catalog, keys)
        try:
            ports = await self._open(parts)
        except BaseException:
            await _close(parts, 0)
            raise
        # All present objects stay for good: without this, each full garbage collection scans them for tens of ms.
        gc.collect()
        gc.freeze()
        self._watch.start()
        self._parts = parts
        self._ready = True
        _log.info("serving", host=config.host, grpc_port=ports.grpc, http_port=ports.http, tls=self._tls is not None)
        return ports

    async def stop(self) -> None:
        """Drains, then closes everything. Does nothing if the server isn't started.

        At once, the health becomes NOT_SERVING, every connection is told to go away, and new texts are refused;
        running texts have the drain timeout to finish.
        """
        parts = self._parts
        if parts is None:
            return
        loop = asyncio.get_running_loop()
        patience = self._config.drain_timeout
        self._ready = False
        self._texts_end_by = loop.time() + patience + LAST_WORDS
        _log.info("draining", timeout=patience, hint="a second signal ends running streams at once")
        parts.health.drain()
        await self._watch.stop()
        if self._tls is not None:
            self._tls.stop()
        draining = asyncio.create_task(parts.service.drain(patience))
        leaving = asyncio.create_task(parts.grpc.stop(_WITHOUT_END))
        await draining
        await _close(parts, min(max(self._texts_end_by - loop.time(), _LEAST_FLUSHING), _FLUSHING))
        leaving.cancel()
        self._parts = None
        _log.info("stopped")

    def hurry(self) -> None:
        """Makes ``stop`` end all running streams now, with ``FINISH_REASON_DRAINING``."""
        if self._parts is not None:
            self._texts_end_by = min(self._texts_end_by, asyncio.get_running_loop().time() + LAST_WORDS)
            self._parts.service.hurry()

    def reload(self) -> None:
        """Reads certificates, callers and models again, if they come from files."""
        self._watch.look_now()

    def _make_model(self, name: str, runner: Runner, replay: Replay) -> ServedModel:
        config, metrics = self._config, self._metrics
        batch_rows, step_seconds = metrics.batch_rows.labels(name), metrics.step_seconds.labels(name)

        def observe(rows: int, seconds: float) -> None:
            batch_rows.observe(rows)
            step_seconds.observe(seconds)

        engine = Engine(
            runner,
            lanes=config.lanes,
            max_batch=config.max_batch,
            queue_size=config.queue_size,
            turn_budget=config.turn_budget,
            stall_timeout=config.stall_timeout,
            prefix_cache=config.prefix_cache * 2**20,
            observe=observe,
        )
        admission, prefixes = engine.admission, engine.prefixes
        metrics.watch(
            name,
            active=lambda: admission.active,
            paused=lambda: admission.paused,
            waiting=lambda: admission.waiting,
        )
        metrics.watch_prefixes(
            name, hits=lambda: prefixes.hits, misses=lambda: prefixes.misses, used=lambda: prefixes.used
        )
        precision = runner.description.precision
        metrics.model_info.labels(name, runner.digest, precision, runner.provider, replay.numeric_class).set(1)
        _log.info(
            "model_loaded",
            model=name,
            digest=runner.digest,
            sealed=runner.is_sealed,
            precision=precision,
            provider=runner.provider,
            provider_reason=runner.provider_reason,
            replay="exact" if replay.exact else "close",
            numeric_class=replay.numeric_class,
        )
        return ServedModel(name, runner, replay, engine, self._limits)

    def _assemble(self, catalog: Catalog, keys: TokenKeys) -> _Parts:
        config, pacer = self._config, Pacer()
        service = GenerationService(catalog, self._metrics, pacer, Tokens(keys))
        health_service = HealthService(SERVICE, most_watches=config.max_watches_per_connection)
        symbols = max(len(model.alphabet.symbols) for model in catalog)
        most_bytes = requests.most_bytes(self._limits, symbols)
        incoming = Incoming(pacer, requests.most_fields(symbols), most_bytes, patience=config.message_timeout)
        calls = Calls(self._budget, stall_timeout=config.stall_timeout)
        resets = Resets(self._metrics.rejected)
        interceptor = CallInterceptor(self._metrics, incoming, calls, resets)
        grpc_server = make_server(interceptor, resets, config, max_request=most_bytes)
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(service, grpc_server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(health_service, grpc_server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), grpc_server)
        http = HttpPort(
            self._metrics.registry, lambda: self._ready, most_connections=config.max_http_connections, tls=self._tls
        )
        return _Parts(catalog, service, health_service, resets, grpc_server, http)

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


def _load(config: Config) -> dict[str, tuple[Runner, Replay]]:
    runners = {
        name: Runner(path, provider=config.provider, threads=config.threads_per_lane)
        for name, path in config.models.items()
    }
    return {name: (runner, runner.replay()) for name, runner in runners.items()}


async def _close(parts: _Parts, flushing: float) -> None:
    """Closes everything; calls that haven't ended after ``flushing`` seconds are cancelled."""
    await _within(_STEP, "resets", parts.resets.stop())
    await _within(flushing + _STEP, "grpc", parts.grpc.stop(flushing))
    await _within(_STEP, "lanes", asyncio.to_thread(_stop_engines, parts.catalog))
    await _within(_STEP, "http", parts.http.close())


def _stop_engines(catalog: Catalog) -> None:
    for model in catalog:
        model.engine.stop()


async def _within(seconds: float, step: str, work: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("step_overran", step=step, seconds=seconds)


async def serve(config: Config) -> None:
    """Runs a server until a signal, then drains it; a second signal ends the running streams at once."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    server = Server(config)
    await server.start()
    signals.reload_on(lambda: loop.call_soon_threadsafe(server.reload))
    signals.drain_on(
        lambda: loop.call_soon_threadsafe(stopping.set),
        lambda: loop.call_soon_threadsafe(server.hurry),
        config.drain_timeout,
    )
    await stopping.wait()
    await server.stop()
