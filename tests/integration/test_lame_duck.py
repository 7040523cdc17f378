"""The lame duck: after SIGTERM, a server says that it takes no calls, and takes them for a while."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aiohttp import ClientSession
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar_server import life, signals
from nextchar_server.settings.config import Config
from tests.support.server_process import PATIENCE, started
from tests.support.serving import Serve, failure
from tests.support.tiny_model import TinyModel

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LONG = 86_400.0
"""Seconds that no test waits for."""


async def test_health_fails_at_once_and_calls_are_still_taken(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lame_duck=LONG) as serving:
        health: Any = health_pb2_grpc.HealthStub(serving.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(serving.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{serving.http_port}/readyz") as ready:
            assert ready.status == 503
        assert await serving.text("the", max_characters=20)
        assert not stopping.done()
        serving.server.hurry()
        await stopping


async def test_the_drain_follows_the_lame_duck(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lame_duck=0.05, drain_timeout=LONG, max_characters=2**31) as serving:
        running = serving.stream("the", max_characters=2**31 - 1)
        await anext(aiter(running))
        watch: Any = health_pb2_grpc.HealthStub(serving.channel).Watch(health_pb2.HealthCheckRequest())
        stopping = asyncio.create_task(serving.server.stop())
        assert (await failure(watch)).code() is grpc.StatusCode.UNAVAILABLE  # all watches end when the drain begins
        assert not stopping.done()  # it waits for the running text
        running.cancel()
        await stopping


async def test_hurry_ends_the_lame_duck_and_the_running_texts(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lame_duck=LONG, drain_timeout=LONG, max_characters=2**31) as serving:
        running = serving.stream("the", max_characters=2**31 - 1)
        events = aiter(running)
        await anext(events)
        stopping = asyncio.create_task(serving.server.stop())
        await asyncio.sleep(0)
        serving.server.hurry()
        *_, last = [event async for event in events]
        assert last.finished.finish_reason == pb.FINISH_REASON_DRAINING
        await stopping


async def test_the_process_has_the_time_of_both_and_a_second_signal_may_come_at_once(
    tiny: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: asyncio.Future[tuple[Callable[[], object], Callable[[], object], float]] = asyncio.Future()
    monkeypatch.setattr(signals, "drain_on", lambda *arguments: told.set_result(arguments))
    monkeypatch.setattr(signals, "reload_on", lambda reload: None)
    config = Config(model=(str(tiny.int8),), grpc_port=0, http_port=0, lanes=1, lame_duck=LONG, drain_timeout=5.0)
    running = asyncio.create_task(life.serve(config))
    drain, hurry, patience = await told
    assert patience == LONG + 5.0
    drain()
    hurry()
    await running


def test_a_second_signal_ends_the_process_of_a_lame_duck_in_order(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, "--lame-duck", "86400", "--drain-timeout", "86400") as lame:
        lame.process.send_signal(signal.SIGTERM)
        assert lame.process.stderr is not None
        for line in lame.process.stderr:
            if json.loads(line)["event"] == "lame_duck":
                break
        lame.process.send_signal(signal.SIGTERM)
        assert lame.process.wait(PATIENCE) == 0
