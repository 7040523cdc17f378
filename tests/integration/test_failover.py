"""Texts of real servers whose connections are cut and whose processes are killed: the client returns them whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from benchmarks.proxy import Proxy
from nextchar_client import AsyncClient, Delta, Event, Finished, Resumed, Started, channel, retries
from nextchar_model.alphabet import Kind
from nextchar_server.rpc import errors
from nextchar_server.rpc.token_keys import VARIABLE
from tests.support.korean_model import make_korean_model
from tests.support.server_process import ServerProcess, started
from tests.support.serving import SMALL_WINDOWS, Serve, Serving
from tests.support.tiny_model import TinyModel

KEY = "0123456789abcdef0123456789abcdef"
OPTIONS: Any = {"prompt": "Romeo yes, no. ", "seed": 5, "max_characters": 3_000}
TOKENS = pytest.mark.parametrize("interval", [None, 16], ids=["repeated", "tokens"])


@pytest.fixture(autouse=True)
def common_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both servers of a test accept each other's tokens, and a client comes back soon."""
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.005)


@asynccontextmanager
async def two_servers(serve: Serve, model: Path) -> AsyncIterator[tuple[AsyncClient, list[Proxy], list[Serving]]]:
    """A client of two servers, each behind a proxy."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serve(model, drain_timeout=0.01)) for _ in range(2)]
        proxies = [await stack.enter_async_context(Proxy(server.grpc_port)) for server in servers]
        client = AsyncClient([f"127.0.0.1:{proxy.port}" for proxy in proxies])
        yield await stack.enter_async_context(client), proxies, servers


def same(events: list[Event]) -> tuple[Any, ...]:
    """All of a text that must be the same, however many calls it took."""
    deltas = [event for event in events if isinstance(event, Delta)]
    first, last = events[0], events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert last.resume_token
    text = "".join(delta.text for delta in deltas)
    assert [delta.offset for delta in deltas] == [
        sum(len(delta.text) for delta in deltas[:n]) for n in range(len(deltas))
    ]
    places = tuple(place for delta in deltas for place in delta.logprobs)
    return text, places, replace(first, request_id=""), replace(last, resume_token=b"")


async def told(client: AsyncClient, options: Any) -> list[Event]:
    return [event async for event in client.stream(**options)]


async def cut(client: AsyncClient, proxies: list[Proxy], options: Any) -> list[Event]:
    """The events of a text whose connections are cut after its first, third and sixth delta."""
    events: list[Event] = []
    deltas = resumed = 0
    async for event in client.stream(with_resumed=True, **options):
        if isinstance(event, Resumed):
            resumed += 1
            continue
        events.append(event)
        deltas += isinstance(event, Delta)
        if deltas in (1, 3, 6):
            for proxy in proxies:
                proxy.cut()
    assert resumed
    return events


@TOKENS
async def test_a_text_that_is_cut_again_and_again_is_that_of_one_call(
    tiny: TinyModel, serve: Serve, interval: int | None
) -> None:
    options = OPTIONS | {"echo": True, "top_logprobs": 2, "resume_interval": interval}
    async with two_servers(serve, tiny.int8) as (client, proxies, _):
        assert same(await cut(client, proxies, options)) == same(await told(client, options))


@TOKENS
async def test_a_text_that_is_cut_while_it_may_be_about_to_stop_stops_at_the_same_character(
    tiny: TinyModel, serve: Serve, interval: int | None
) -> None:
    async with two_servers(serve, tiny.int8) as (client, proxies, _):
        text = (await client.generate(**OPTIONS)).text
        # All but the last of these only begin in the text, so that parts of it are held back.
        stops = [*(text[n : n + 40] + text[:3] for n in range(1_500, 2_400, 60)), text[2_500:2_512]]
        options = OPTIONS | {"stop": stops, "include_stop_sequence": True, "resume_interval": interval}
        assert same(await cut(client, proxies, options)) == same(await told(client, options))


@pytest.mark.parametrize(("kind", "interval"), [("jamo", None), ("jamo", 16), ("bytes", 16)])
async def test_korean_that_is_cut_again_and_again_is_that_of_one_call(
    tmp_path: Path, serve: Serve, kind: Kind, interval: int | None
) -> None:
    options = OPTIONS | {"prompt": "서울 밟", "resume_interval": interval}
    async with two_servers(serve, make_korean_model(kind, tmp_path, endless=True)) as (client, proxies, _):
        assert same(await cut(client, proxies, options)) == same(await told(client, options))


async def test_a_text_that_drains_continues_on_another_server(tiny: TinyModel, serve: Serve) -> None:
    options: Any = OPTIONS | {"max_characters": 10_000, "stop": ["light love moon the"]}
    async with two_servers(serve, tiny.int8) as (client, _, servers):
        whole = await told(client, options)
        events: list[Event] = []
        async for event in client.stream(with_resumed=True, **options):
            events.append(event)
            if len(events) == 2:
                await next(server for server in servers if server.engine.admission.held).server.stop()
        assert [event.repeated_characters for event in events if isinstance(event, Resumed)] == [0]
        assert same([event for event in events if not isinstance(event, Resumed)]) == same(whole)


async def test_a_whole_answer_that_drains_is_finished_by_another_server(tiny: TinyModel, serve: Serve) -> None:
    options: Any = OPTIONS | {"max_characters": 10_000}
    async with two_servers(serve, tiny.int8) as (client, _, servers):
        whole = await client.generate(**options)
        task = asyncio.create_task(client.generate(**options))
        while not (busy := [server for server in servers if server.engine.admission.held]):
            await asyncio.sleep(0)
        await busy[0].server.stop()
        generation = await task
        assert (generation.text, generation.finished.usage) == (whole.text, whole.finished.usage)


@pytest.mark.parametrize("room", [errors.MOST_TRAILING_BYTES, 0], ids=["with a token", "its token is too large"])
async def test_a_late_reader_has_the_whole_text(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(errors, "MOST_TRAILING_BYTES", room)
    options: Any = OPTIONS | {"max_characters": 10_000, "top_logprobs": 1}
    monkeypatch.setattr(channel, "_OPTIONS", (*channel._OPTIONS, *SMALL_WINDOWS))
    async with serve(tiny.int8, stall_timeout=0.5) as serving, AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        whole = await told(client, options)
        events: list[Event] = []
        async for event in client.stream(with_resumed=True, **options):
            events.append(event)
            if len(events) == 2:
                while serving.engine._streams:
                    await asyncio.sleep(0.01)
        resumed = next(event for event in events if isinstance(event, Resumed))
        assert resumed.repeated_characters < 512 if room else resumed.repeated_characters == resumed.offset
        assert same([event for event in events if not isinstance(event, Resumed)]) == same(whole)


@pytest.mark.slow
async def test_a_text_whose_server_is_killed_continues_on_another_one(tiny: TinyModel) -> None:
    # More bytes than lie in the buffers between the two, so that it is killed half-way.
    options: Any = OPTIONS | {"max_characters": 10_000, "resume_interval": 256, "top_logprobs": 10}
    with ExitStack() as stack:
        servers = [stack.enter_context(started("--model", tiny.int8)) for _ in range(2)]
        async with AsyncClient(f"127.0.0.1:{servers[0].grpc_port},127.0.0.1:{servers[1].grpc_port}") as client:
            whole = await told(client, options)
            events: list[Event] = []
            async for event in client.stream(with_resumed=True, **options):
                events.append(event)
                if len(events) == 2:
                    busy = [server for server in servers if await asyncio.to_thread(is_busy, server)]
                    busy[0].process.kill()
            (resumed,) = [event for event in events if isinstance(event, Resumed)]
            assert resumed.repeated_characters < 256
            assert same([event for event in events if event is not resumed]) == same(whole)


def is_busy(server: ServerProcess) -> bool:
    """Whether a stream runs on ``server``."""
    with urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=60) as answer:
        return b'nextchar_active_streams{model="int8"} 1.0' in answer.read()
