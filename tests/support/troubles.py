"""Troubles of real servers, each as a block: it is there inside, and mended behind it. For the tests of the alerts.

``TROUBLES`` has them by the alert that each fires. A trouble yields the labels of its alert, and leaves the server
running and scraped until the test has seen the alert clear.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.runner import Runner
from nextchar_server.rpc import service
from nextchar_server.server import Server
from nextchar_server.settings.config import Config
from tests.support.certificates import authority
from tests.support.prometheus import Prometheus
from tests.support.server_process import started
from tests.support.serving import Serving, serving
from tests.support.tiny_model import TinyModel

ENDLESS = 2**31
_PAUSE = 0.1


@dataclass(frozen=True)
class Scene:
    """The parts of a trouble. ``stack`` ends after the test has seen the alert clear."""

    tiny: TinyModel
    folder: Path
    prometheus: Prometheus
    stack: AsyncExitStack

    async def serve(self, *models: str | Path, scheme: str = "http", **settings: Any) -> tuple[Serving, str]:
        """Starts a server that is scraped. Returns it and its label ``instance``."""
        settings = {"lanes": 1, "max_characters": ENDLESS, **settings}
        running = await self.stack.enter_async_context(serving(*models, **settings))
        return running, self.stack.enter_context(self.prometheus.scraping(running.http_port, scheme))


Labels = dict[str, str]
Trouble = Callable[[Scene], AbstractAsyncContextManager[Labels]]


@asynccontextmanager
async def again_and_again(*calls: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Makes calls over and over, whether they succeed or not."""

    async def repeat(call: Callable[[], Awaitable[object]]) -> None:
        while True:
            with suppress(grpc.aio.AioRpcError):
                await call()
            await asyncio.sleep(_PAUSE)

    tasks = [asyncio.create_task(repeat(call)) for call in calls]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass


@asynccontextmanager
async def stopped(scene: Scene) -> AsyncIterator[Labels]:
    """A server stops, and is started again on the same port."""
    running, instance = await scene.serve(scene.tiny.int8)
    await asyncio.to_thread(scene.prometheus.until, f'up{{instance="{instance}"}} == 1')
    await running.server.stop()
    yield {"instance": instance}
    again = Server(Config(model=(str(scene.tiny.int8),), lanes=1, grpc_port=0, http_port=running.http_port))
    await again.start()
    scene.stack.push_async_callback(again.stop)


@asynccontextmanager
async def full_queue(scene: Scene) -> AsyncIterator[Labels]:
    """More texts come than a batch of one row can write."""
    running, instance = await scene.serve(scene.tiny.int8, max_batch=1, queue_size=20)
    texts = [lambda: _read(running.stream("the", max_characters=ENDLESS)) for _ in range(24)]
    async with again_and_again(*texts):
        yield {"instance": instance}


@asynccontextmanager
async def refusals(scene: Scene) -> AsyncIterator[Labels]:
    """One text has the only place, and others are refused."""
    running, instance = await scene.serve(scene.tiny.int8, max_batch=1, queue_size=0)
    one = running.stream("the", max_characters=ENDLESS)
    await anext(aiter(one))
    async with again_and_again(lambda: running.text("the", max_characters=1)):
        yield {"instance": instance}
    one.cancel()


@asynccontextmanager
async def slow_model(scene: Scene) -> AsyncIterator[Labels]:
    """A model takes more than a second for a turn."""
    running, _ = await scene.serve(f"slow={scene.tiny.int8}")
    advance = Runner.advance

    def slowly(*arguments: Any, **settings: Any) -> Any:
        time.sleep(1.5)
        return advance(*arguments, **settings)

    with patch.object(Runner, "advance", slowly):
        async with again_and_again(lambda: running.text("the", max_characters=1)):
            yield {"model": "slow"}


@asynccontextmanager
async def bug(scene: Scene) -> AsyncIterator[Labels]:
    """A handler meets a bug."""
    running, instance = await scene.serve(scene.tiny.int8)
    with patch.object(service, "score", side_effect=ZeroDivisionError):
        async with again_and_again(lambda: running.stub.Score(pb.ScoreRequest(text="the"))):
            yield {"instance": instance, "grpc_method": "Score"}


@asynccontextmanager
async def bad_model(scene: Scene) -> AsyncIterator[Labels]:
    """A file that is no model is put beside one."""
    (scene.folder / "verse.onnx").write_bytes(scene.tiny.int8.read_bytes())
    running, instance = await scene.serve(models_dir=scene.folder)
    (scene.folder / "bad.onnx").write_bytes(b"bad")
    running.server.reload()
    yield {"instance": instance}
    (scene.folder / "bad.onnx").unlink()
    running.server.reload()


@asynccontextmanager
async def short_certificate(scene: Scene) -> AsyncIterator[Labels]:
    """The certificate ends in two days."""
    known = authority(scene.folder)
    known.renew(after=datetime.now(UTC) + timedelta(days=2))
    running, instance = await scene.serve(scene.tiny.int8, scheme="https", **known.settings)
    yield {"instance": instance}
    known.renew(after=datetime.now(UTC) + timedelta(days=90))
    running.server.reload()


@asynccontextmanager
async def lost_lines(scene: Scene) -> AsyncIterator[Labels]:
    """The reader of the server's log is gone."""
    running = scene.stack.enter_context(started("--model", scene.tiny.int8, "--lanes", "1"))
    instance = scene.stack.enter_context(scene.prometheus.scraping(running.http_port))
    assert running.process.stderr is not None
    running.process.stderr.close()
    channel = await scene.stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}"))
    call = channel.unary_unary(
        "/nextchar.v1.GenerationService/Score",
        request_serializer=pb.ScoreRequest.SerializeToString,
        response_deserializer=pb.ScoreResponse.FromString,
    )
    async with again_and_again(lambda: call(pb.ScoreRequest(text="the"))):
        yield {"instance": instance}


@asynccontextmanager
async def full_memory(scene: Scene) -> AsyncIterator[Labels]:
    """Calls with the longest prompts wait for one row."""
    running, instance = await scene.serve(scene.tiny.int8, max_batch=1, memory_budget=16)
    prompt = "the " * 16_000
    texts = [lambda: _read(running.stream(prompt, max_characters=ENDLESS)) for _ in range(40)]
    async with again_and_again(*texts):
        yield {"instance": instance}


@asynccontextmanager
async def long_drain(scene: Scene) -> AsyncIterator[Labels]:
    """A server that was told to stop waits for a text."""
    running, instance = await scene.serve(scene.tiny.int8, drain_timeout=300.0)
    text = running.stream("the", max_characters=ENDLESS)
    await anext(aiter(text))
    stopping = asyncio.create_task(running.server.stop())
    yield {"instance": instance}
    text.cancel()
    await stopping


@asynccontextmanager
async def dying_workers(scene: Scene) -> AsyncIterator[Labels]:
    """A worker is killed whenever all serve."""
    arguments = ("--model", scene.tiny.int8, "--workers", "2", "--lanes", "1")
    running = scene.stack.enter_context(started(*arguments))
    instance = scene.stack.enter_context(scene.prometheus.scraping(running.http_port))
    await asyncio.to_thread(scene.prometheus.until, f'nextchar_worker_restarts_total{{instance="{instance}"}} == 0')

    async def kill() -> None:
        os.kill(running.workers[0], signal.SIGKILL)
        await asyncio.to_thread(running.next, "worker_restarted")

    async with again_and_again(kill):
        yield {"instance": instance}


TROUBLES: dict[str, Trouble] = {
    "NextcharServerDown": stopped,
    "NextcharQueueFull": full_queue,
    "NextcharRejections": refusals,
    "NextcharSlowFirstCharacter": slow_model,
    "NextcharInternalErrors": bug,
    "NextcharModelLoadFailed": bad_model,
    "NextcharCertificateEndsSoon": short_certificate,
    "NextcharLogLinesDropped": lost_lines,
    "NextcharMemoryBudget": full_memory,
    "NextcharDrainingTooLong": long_drain,
    "NextcharWorkerRestarts": dying_workers,
}
