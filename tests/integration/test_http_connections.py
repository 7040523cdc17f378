"""Requests to the HTTP port: their connections, and how they are counted."""

from __future__ import annotations

import asyncio

import pytest

from nextchar_server.http import connections
from nextchar_server.thread_share import ThreadShare
from tests.support.events import all_events, http
from tests.support.events import opened as begun
from tests.support.known_callers import ENDLESS, value
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

PAGE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answers(serving: Serving, count: int) -> list[bytes]:
    """Asks for the page on one connection, and returns the heads of the answers, ``count`` at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", serving.http_port)
    heads: list[bytes] = []
    try:
        while len(heads) < count:
            writer.write(PAGE)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
            await reader.readexactly(int(length.split(b" ")[1]))
            heads.append(head)
            if b"connection: close" in head:
                break
    finally:
        writer.close()
    return heads


async def test_a_connection_serves_several_files(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        assert len(await answers(serving, 5)) == 5


async def test_a_connection_near_its_end_serves_no_further_file(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LAST_ANSWER", 2 * connections.LIFETIME)
    async with serve(tiny.int8) as serving:
        assert len(await answers(serving, 5)) == 1


async def test_beyond_the_share_of_the_thread_each_file_needs_a_connection(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8) as serving:
        await answers(serving, 1)
        monkeypatch.setattr(ThreadShare, "left", lambda _: -1e-9)
        assert len(await answers(serving, 5)) == 1


async def test_idle_connections_make_way_for_others(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_http_connections=2) as serving, http(serving) as client:
        idle = [await asyncio.open_connection("127.0.0.1", serving.http_port) for _ in range(2)]
        for reader, writer in idle:
            writer.write(PAGE)
            await reader.readuntil(b"\r\n\r\n")
        for _ in range(5):
            assert (await client.get("/healthz")).status_code == 200
        for _, writer in idle:
            writer.close()


async def test_requests_are_counted_by_route_and_code(tiny: TinyModel, serve: Serve) -> None:
    name = "nextchar_http_requests_total"
    async with serve(tiny.int8, max_characters=ENDLESS) as serving, http(serving) as client:
        assert value(serving, name, route="/v1/score", code="500") == 0
        await all_events(client, prompt="the", max_tokens=5)
        async with begun(client, prompt="the", max_tokens=ENDLESS) as events:
            await anext(events)
        for path in ("/", "/v1/models/int8", "/v1/models/none", "/v1/x", "/wp-login.php", "/x", "/v1/completions?n=2"):
            await client.get(path)
        await until(lambda: value(serving, name, route="/v1/completions", code="499") == 1)
        counted = {
            ("/v1/completions", "200"): 1,
            ("/v1/completions", "400"): 1,
            ("page", "200"): 1,
            ("/v1/models/{model}", "200"): 1,
            ("/v1/models/{model}", "404"): 1,
            ("other", "404"): 3,
        }
        for (route, code), count in counted.items():
            assert value(serving, name, route=route, code=code) == count
        assert value(serving, "nextchar_http_request_seconds_count", route="/v1/completions") == 3
