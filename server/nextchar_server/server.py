"""The server: puts the parts together, opens the ports, and closes everything in order.

model files → runners → engines → service → gRPC port      (calls come in)
└→ metrics → HTTP port       (scrapes and probes come in)
"""

from __future__ import annotations

import asyncio
import errno
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

from .catalog import ServedModel, ServedModels
from .config import Config
from .engine.engine import Engine
from .metrics import Metrics
from .probes import application
from .rpc.interceptor import CallInterceptor
from .rpc.requests import Limits
from .rpc.service import GenerationService

SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name

_MESSAGE_ROOM = 16 * 2**20
"""Largest message that is read at all, in bytes. Far above the largest prompt, so that a prompt which is too long
gets an answer that says so; what is larger still, gRPC itself refuses."""

_log = structlog.get_logger()


class StartError(Exception):
    """The server can't start. The message says why, in one line."""


@dataclass(frozen=True)
class Ports:
    """Where the server listens."""

    grpc: int
    http: int


class Server:
    """One server. ``start``, then ``stop``; both on one event loop."""

    def __init__(self, config: Config, registry: CollectorRegistry | None = None) -> None:
        self._config = config
        self._metrics = Metrics(registry or CollectorRegistry())
        self._engines: list[Engine] = []
        self._ready = False

    async def start(self) -> Ports:
        """Loads the models and opens the ports; from its return on, calls are served.

        Raises ``ModelFileError``, ``ProviderError`` or ``StartError``; nothing stays open then.
        """
        config = self._config
        runners = {
            name: Runner(path, provider=config.provider, threads=config.threads_per_lane)
            for name, path in config.models.items()
        }
        replays = {name: runner.replay() for name, runner in runners.items()}  # before any thread is started
        models = ServedModels([self._serve(name, runner, replays[name]) for name, runner in runners.items()])
        self._service = GenerationService(models, self._metrics)
        self._health = health.aio.HealthServicer()
        _start_poller()
        self._grpc = grpc.aio.server(
            interceptors=[CallInterceptor(self._metrics)],
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_ROOM),
                ("grpc.so_reuseport", 0),  # a port in use is an error
                ("grpc.keepalive_time_ms", 60_000),  # a caller that vanished without a word holds its streams no longer
                ("grpc.keepalive_timeout_ms", 20_000),
            ],
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(self._service, self._grpc)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)
        self._http = web.AppRunner(
            application(self._metrics.registry, lambda: self._ready), access_log=None, handle_signals=False
        )
        try:
            ports = await self._open()
        except BaseException:
            await self._close()
            raise
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        # What is there now stays: no collection of garbage has to look at it again, which takes tens of milliseconds.
        gc.collect()
        gc.freeze()
        self._ready = True
        _log.info("serving", host=config.host, grpc_port=ports.grpc, http_port=ports.http)
        return ports

    async def stop(self) -> None:
        """Drains, then closes everything.

        The health turns to NOT_SERVING and new texts are turned away at once; those that run get the drain timeout.
        """
        self._ready = False
        _log.info("draining", timeout=self._config.drain_timeout, hint="a second signal ends running streams at once")
        await self._health.enter_graceful_shutdown()
        await self._service.drain(self._config.drain_timeout)
        await self._close()
        _log.info("stopped")

    def hurry(self) -> None:
        """Lets ``stop`` end all running streams now, with ``FINISH_REASON_DRAINING``."""
        self._service.hurry()

    def _serve(self, name: str, runner: Runner, replay: Replay) -> ServedModel:
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
        self._engines.append(engine)
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

    async def _open(self) -> Ports:
        config = self._config
        address = f"[{config.host}]" if ":" in config.host else config.host
        try:
            grpc_port = self._grpc.add_insecure_port(f"{address}:{config.grpc_port}")
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}:{config.grpc_port} for gRPC: is the port in use?") from error
        await self._grpc.start()
        await self._http.setup()
        site = web.TCPSite(self._http, config.host, config.http_port)
        try:
            await site.start()
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(f"cannot listen on {address}:{config.http_port} for HTTP: {reason}") from error
        return Ports(grpc_port, self._http.addresses[0][1])

    async def _close(self) -> None:
        await self._grpc.stop(grace=1)
        for engine in self._engines:
            engine.stop()
        await self._http.cleanup()


def _start_poller() -> None:
    """Starts the thread in which gRPC waits for its events, which it would start by itself, such that it gathers them.

    It tells the event loop of each event with a write of its own. An ordinary thread that wakes takes the core from
    the one that runs, so the two would change places for each event; one of Linux's batch threads lets the event loop
    finish first, and then brings all that happened meanwhile.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # not allowed here: slower, and no worse
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # a new thread has the policy of its maker
        try:
            grpc.aio.init_grpc_aio()
        finally:
            os.sched_setscheduler(0, policy, parameters)


async def serve(config: Config) -> None:
    """Runs a server until SIGTERM or SIGINT, then drains it; a second signal ends the drain's patience."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # before it starts: process 1 of a container has no other handler
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    await stopping.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.hurry)
    await server.stop()
