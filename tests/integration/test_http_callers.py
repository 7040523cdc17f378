"""The doors of the HTTP API: credentials, limits, bodies, connections, other origins, probes beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nextchar_server.http import leavers
from tests.support.events import all_events, http
from tests.support.events import opened as begun
from tests.support.known_callers import ENDLESS, OTHER_TOKEN, TOKEN, Open, value
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

BODY: Any = {"prompt": "the", "max_tokens": 5}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_stranger_gets_the_page_and_else_a_refusal(opened: Open) -> None:
    async with opened() as serving, http(serving) as client:
        for method, path in (("POST", "/v1/completions"), ("POST", "/v1/score"), ("GET", "/v1/models")):
            for headers in ({}, bearer("guess")):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["error"]["code"] == "invalid_api_key"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await client.get("/")).status_code == 200
        assert value(serving, "nextchar_rejected_total", reason="unauthenticated") == 6


async def test_a_caller_with_its_token_is_served_and_counted(opened: Open) -> None:
    async with opened() as serving, http(serving, headers=bearer(TOKEN)) as client:
        assert (await client.post("/v1/completions", json=BODY)).status_code == 200
        await until(lambda: value(serving, "nextchar_caller_calls_total", caller="ann", code="OK") == 1)


async def test_models_can_be_exempt(opened: Open) -> None:
    async with opened(auth_exempt="models") as serving, http(serving) as client:
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.get("/v1/models/int8")).status_code == 200
        assert (await client.post("/v1/completions", json=BODY)).status_code == 401


async def test_a_callers_limit_holds_for_both_ports_together(opened: Open) -> None:
    async with opened(caller_streams=1) as serving, http(serving) as client:
        body = {**BODY, "max_tokens": ENDLESS, "stream": True}
        async with client.stream("POST", "/v1/completions", json=body, headers=bearer(TOKEN)) as response:
            lines = response.aiter_lines()
            await anext(lines)
            refused = await client.post("/v1/completions", json=BODY, headers=bearer(TOKEN))
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "caller_streams"
            other = await client.post("/v1/completions", json=BODY, headers=bearer(OTHER_TOKEN))
            assert other.status_code == 200


async def test_the_number_of_requests_is_bounded(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS, max_http_requests=2) as serving, http(serving) as client:
        body: dict[str, Any] = {"prompt": "the", "max_tokens": ENDLESS}
        async with begun(client, **body) as one, begun(client, **body) as two:
            await anext(one)
            await anext(two)
            refused = await client.post("/v1/completions", json=BODY)
            assert refused.status_code == 429
            assert (await client.get("/readyz")).text == "ready\n"
        await until(lambda: serving.service._calls == 0)
        assert (await client.post("/v1/completions", json=BODY)).status_code == 200


async def test_streams_outlast_any_number_of_other_connections(tiny: TinyModel, serve: Serve) -> None:
    async with (
        serve(tiny.int8, max_characters=ENDLESS, max_http_connections=2) as serving,
        http(serving) as client,
        begun(client, prompt="the", max_tokens=ENDLESS) as events,
    ):
        await anext(events)
        for _ in range(8):
            assert (await client.get("/healthz")).status_code == 200
        for _ in range(20):
            await anext(events)


async def test_probes_and_scrapes_answer_beside_many_streams(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS) as serving, http(serving) as client:
        limits = httpx.Limits(max_connections=None)
        async with http(serving, limits=limits) as crowd:
            body: dict[str, Any] = {"prompt": "the", "max_tokens": 100_000}
            streams = [asyncio.create_task(all_events(crowd, **body)) for _ in range(30)]
            await until(lambda: serving.service._calls == 30)
            for path in ("/healthz", "/readyz", "/metrics") * 3:
                assert (await client.get(path)).status_code == 200
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
        await until(lambda: serving.service._calls == 0)


async def test_a_connection_serves_several_requests(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.http_port)
        content = json.dumps(BODY).encode()
        head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}"
        for _ in range(3):
            writer.write(head.encode() + b"\r\n\r\n" + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            (length,) = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")]
            assert json.loads(await reader.readexactly(int(length.split(b":")[1])))["choices"]
        writer.close()


async def test_a_body_that_is_too_large_is_refused(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        answer = await client.post("/v1/completions", content=b" " * 2**23)
        assert answer.status_code == 413

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(2**8):
                yield b" " * 2**15

        assert (await client.post("/v1/completions", content=chunks())).status_code == 413
        assert (await client.post("/v1/completions", json=BODY)).status_code == 200


async def test_large_bodies_are_in_the_memory_budget(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, memory_budget=16) as serving, http(serving) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", serving.http_port)
        writer.write(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n{")
        await until(lambda: value(serving, "nextchar_memory_bytes") >= 16 * 400_000)
        answer = await client.post("/v1/score", json={"text": "a" * 2**19})
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "memory"
        assert answer.headers["Retry-After"]
        assert value(serving, "nextchar_rejected_total", reason="memory") == 1
        writer.close()
        await until(lambda: value(serving, "nextchar_memory_bytes") == 0)


async def test_an_address_that_cancels_its_requests_is_held_back(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leavers, "BURST", 3)
    monkeypatch.setattr(leavers, "RATE", 1e-3)
    async with serve(tiny.int8, max_characters=ENDLESS) as serving, http(serving) as client:
        content = json.dumps({"prompt": "the", "max_tokens": ENDLESS, "stream": True}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n"
        for _ in range(4):
            _, writer = await asyncio.open_connection("127.0.0.1", serving.http_port)
            writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
            await until(lambda: serving.service._calls == 1)
            writer.close()
            await until(lambda: serving.service._calls == 0)
        answer = await client.post("/v1/completions", json=BODY)
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "resets"
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert (await client.get("/readyz")).status_code == 200


async def test_a_body_that_does_not_come_is_not_waited_for(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, message_timeout=0.2) as serving:
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.http_port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_pages_of_other_origins_may_call_if_told(tiny: TinyModel, serve: Serve) -> None:
    origin = {"Origin": "https://a.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "last-event-id"}
    async with serve(tiny.int8, http_cors_origin=("https://a.example",)) as serving, http(serving) as client:
        preflight = await client.options("/v1/completions", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://a.example"
        answer = await client.post("/v1/completions", json=BODY, headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        other = await client.post("/v1/completions", json=BODY, headers={"Origin": "https://b.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
    async with serve(tiny.int8) as serving, http(serving) as client:
        answer = await client.post("/v1/completions", json=BODY, headers=origin)
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_page_may_load_nothing_from_elsewhere(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        page = await client.get("/")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        again = await client.get("/", headers={"If-None-Match": page.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/playground/../port.py")).status_code == 404
        assert (await client.get("/playground/nothing")).status_code == 404


async def test_the_document_names_all_routes(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        document = (await client.get("/openapi.json")).json()
        assert set(document["paths"]) == {"/v1/completions", "/v1/score", "/v1/models", "/v1/models/{model}"}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405)])
async def test_other_paths_are_refused_in_the_same_shape(
    tiny: TinyModel, serve: Serve, method: str, path: str, status: int
) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == "unknown_url"


async def test_a_method_that_a_path_lacks_is_refused_with_those_that_it_has(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        assert (await client.delete("/v1/completions")).headers["Allow"] == "GET, POST"
        assert (await client.get("/v1/score")).headers["Allow"] == "POST"
