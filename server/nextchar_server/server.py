"""The server: joins the parts, opens the ports, and closes everything in order.

model files → runners → engines → catalog → service → gRPC port      (calls come in)
                           └→ metrics → HTTP port                    (scrapes and probes come in)
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import suppress
from dataclasses import dataclass

import grpc
import structlog
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from nextchar.v1 import generation_pb2, generation_pb2_grpc
from nextchar_model.runner import Replay, Runner

from .catalog import Catalog, Limits, ServedModel
from .config import Config
from .engine.engine import Engine
from .listening import bracketed, cannot_listen, explain, require_free
from .metrics import Metrics
from .probes import application
from .rpc.interceptor import CallInterceptor
from .rpc.service import GenerationService

SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name

_MAX_REQUEST = 16 * 2**20
"""Largest request that is read, in bytes. Far above the largest prompt, so that a prompt over the limit gets an answer
that says so; gRPC itself refuses anything larger."""

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
    health: health.aio.HealthServicer
    grpc: grpc.aio.Server
    http: web.AppRunner


class Server:
    """One server. Call ``start``, then ``stop``, on one event loop."""

    def __init__(self, config: Config, registry: CollectorRegistry | None = None) -> None:
        self._config = config
        self._metrics = Metrics(registry or CollectorRegistry())
        self._parts: _Parts | None = None  # None before ``start`` and after ``stop``
        self._ready = False

    async def start(self) -> Ports:
        """Loads the models and opens the ports. Once it returns, calls are served.

        Raises ``ModelFileError``, ``ProviderError`` or ``StartError``, and then leaves nothing open.
        """
        config = self._config
        await require_free(config.host, config.grpc_port, "gRPC", "--grpc-port")
        await require_free(config.host, config.http_port, "HTTP", "--http-port")
        runners = {
            name: Runner(path, provider=config.provider, threads=config.threads_per_lane)
            for name, path in config.models.items()
        }
        replays = {name: runner.replay() for name, runner in runners.items()}  # before any thread is started
        catalog = Catalog([self._make_model(name, runner, replays[name]) for name, runner in runners.items()])
        parts = self._assemble(catalog)
        try:
            ports = await self._open(parts)
        except BaseException:
            await _close(parts)
            raise
        for service in ("", SERVICE):
            await parts.health.set(service, health_pb2.HealthCheckResponse.SERVING)
        # All present objects stay for good: without this, each full garbage collection scans them for tens of ms.
        gc.collect()
        gc.freeze()
        self._parts = parts
        self._ready = True
        _log.info("serving", host=config.host, grpc_port=ports.grpc, http_port=ports.http)
        return ports

    async def stop(self) -> None:
        """Drains, then closes everything. Does nothing if the server isn't started.

        At once, the health becomes NOT_SERVING and new texts are refused; running texts have the drain timeout to
        finish.
        """
        parts = self._parts
        if parts is None:
            return
        self._ready = False
        _log.info("draining", timeout=self._config.drain_timeout, hint="a second signal ends running streams at once")
        await parts.health.enter_graceful_shutdown()
        await parts.service.drain(self._config.drain_timeout)
        await _close(parts)
        self._parts = None
        _log.info("stopped")

    def hurry(self) -> None:
        """Makes ``stop`` end all running streams now, with ``FINISH_REASON_DRAINING``."""
        if self._parts is not None:
            self._parts.service.hurry()

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
            observe=observe,
        )
        admission = engine.admission
        metrics.watch(
            name,
            active=lambda: admission.active,
            paused=lambda: admission.paused,
            waiting=lambda: admission.waiting,
        )
        precision = runner.description.precision
        metrics.model_info.labels(name, runner.digest, precision, runner.provider, replay.numeric_class).set(1)
        _log.info(
            "model_loaded",
            model=name,
            digest=runner.digest,
            precision=precision,
            provider=runner.provider,
            provider_reason=runner.provider_reason,
            replay="exact" if replay.exact else "close",
            numeric_class=replay.numeric_class,
        )
        return ServedModel(name, runner, replay, engine, Limits(config.max_characters, config.max_prompt_characters))

    def _assemble(self, catalog: Catalog) -> _Parts:
        service = GenerationService(catalog, self._metrics)
        health_servicer = health.aio.HealthServicer()
        _start_poller()
        grpc_server = grpc.aio.server(
            interceptors=[CallInterceptor(self._metrics)],
            options=[
                ("grpc.max_receive_message_length", _MAX_REQUEST),
                ("grpc.so_reuseport", 0),  # a port in use is an error
                ("grpc.keepalive_time_ms", 60_000),  # detects callers that vanished, and frees their streams
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(service, grpc_server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, grpc_server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), grpc_server)
        http = web.AppRunner(
            application(self._metrics.registry, lambda: self._ready), access_log=None, handle_signals=False
        )
        return _Parts(catalog, service, health_servicer, grpc_server, http)

    async def _open(self, parts: _Parts) -> Ports:
        config = self._config
        try:
            grpc_port = parts.grpc.add_insecure_port(f"{bracketed(config.host)}:{config.grpc_port}")
        except RuntimeError as error:
            raise cannot_listen(config.host, config.grpc_port, "gRPC", str(error)) from error
        await parts.grpc.start()
        await parts.http.setup()
        try:
            await web.TCPSite(parts.http, config.host, config.http_port).start()
        except OSError as error:
            raise cannot_listen(config.host, config.http_port, "HTTP", explain(error, "--http-port")) from error
        return Ports(grpc_port, parts.http.addresses[0][1])


async def _close(parts: _Parts) -> None:
    await parts.grpc.stop(grace=1)
    for model in parts.catalog:
        model.engine.stop()
    await parts.http.cleanup()


def _start_poller() -> None:
    """Starts the thread in which gRPC waits for its events, scheduled so that it reports several events at once.

    gRPC would start the thread by itself. For each event it writes to the event loop. An ordinary thread that wakes
    up takes the core from the running one, so the two would alternate at every event; a thread of Linux's batch class
    waits until the event loop has finished, then reports all events since.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # not permitted: only slower
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # a new thread inherits the policy of its creator
        try:
            grpc.aio.init_grpc_aio()
        finally:
            os.sched_setscheduler(0, policy, parameters)


async def serve(config: Config) -> None:
    """Runs a server until SIGTERM or SIGINT, then drains it; a second signal ends the running streams at once."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # before it starts: process 1 of a container has no default handler
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.hurry)
    await server.stop()
