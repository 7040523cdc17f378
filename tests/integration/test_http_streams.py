"""Streams by HTTP: cut and continued, read slowly, left, drained."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from nextchar_server.http import events as http_events
from nextchar_server.rpc.token_keys import VARIABLE
from tests.support.events import Event, all_events, events_of, http, opened, text_of
from tests.support.known_callers import ENDLESS, value
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

KEY = "0123456789abcdef0123456789abcdef"
ASKED: Any = {"prompt": "Romeo yes, ", "seed": 5, "max_tokens": 400}
KINDS: list[dict[str, Any]] = [
    {},
    {"echo": True},
    {"stop": ["moon", "e t"], "max_tokens": 2000},
    {"regex": "[a-f ]{150}", "temperature": 0.8},
    {"logprobs": 1},
    {"min_characters": 300},
    {"resume_interval": 50},
    {"resume_interval": 0, "echo": True},
    {"echo": True, "logprobs": 2},
    {"unknown_characters": "skip", "echo": True, "prompt": "Romeo \U0001f3ad yes, "},
    {"logprobs": 0, "include_activations": {"layer": 0, "units": [1, 3]}},
]


@pytest.fixture(autouse=True)
def common_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers accept each other's tokens."""
    monkeypatch.setenv(VARIABLE, KEY)


def places(events: list[Event], key: str) -> list[Any]:
    """Returns a column of the log-probabilities of all events."""
    found = [event.data["choices"][0]["logprobs"] for event in events if event.data]
    return [value for logprobs in found if logprobs for value in logprobs[key]]


@pytest.mark.parametrize("kind", KINDS, ids=["-".join(kind) or "plain" for kind in KINDS])
async def test_a_stream_cut_at_any_event_continues_on_another_replica(
    tiny: TinyModel, serve: Serve, kind: dict[str, Any]
) -> None:
    body = {**ASKED, **kind}
    async with serve(tiny.int8) as one, serve(tiny.int8) as other, http(one) as first, http(other) as second:
        whole = await all_events(first, **body)
        end = whole[-2].data["choices"][0]["finish_reason"]
        marked = [place for place, event in enumerate(whole) if event.id]
        for place in marked[:: max(1, len(marked) // 4)]:
            if place >= len(whole) - 2:  # the last one with a text and the end
                continue
            rest = await all_events(second, whole[place].id, **body)
            assert text_of(whole[: place + 1]) + text_of(rest) == text_of(whole)
            assert rest[-2].data["choices"][0]["finish_reason"] == end
            assert rest[-2].data["usage"]["completion_tokens"] == whole[-2].data["usage"]["completion_tokens"]
            for key in ("token_logprobs", "text_offset"):
                assert places(whole[: place + 1], key) + places(rest, key) == places(whole, key)


async def test_an_event_source_is_continued_and_then_told_to_stop(tiny: TinyModel, serve: Serve) -> None:
    query = {"prompt": "Romeo yes, ", "seed": "5", "max_tokens": "400", "stop": '["moon"]', "logit_bias": '{"e": 1}'}
    async with serve(tiny.int8) as one, serve(tiny.int8) as other, http(one) as first, http(other) as second:
        async with first.stream("GET", "/v1/completions", params=query) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            whole = [event async for event in events_of(response)]
        async with first.stream("GET", "/v1/completions", params=query) as response:
            begun = await anext(events_of(response))
        headers = {"Last-Event-ID": begun.id}
        async with second.stream("GET", "/v1/completions", params=query, headers=headers) as response:
            rest = [event async for event in events_of(response)]
        assert text_of([begun]) + text_of(rest) == text_of(whole)
        stopped = await second.get("/v1/completions", params=query, headers={"Last-Event-ID": rest[-2].id})
        assert stopped.status_code == 204


async def test_an_event_source_continues_without_a_seed_of_its_own(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        whole = await all_events(client, prompt="Romeo ", max_tokens=200)
        rest = await all_events(client, whole[0].id, prompt="Romeo ", max_tokens=200)
        assert text_of(whole[:1]) + text_of(rest) == text_of(whole)
        assert rest[0].data["seed"] == whole[0].data["seed"]


async def test_only_the_end_of_a_stream_can_be_lost(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        whole = await all_events(client, **ASKED)
        rest = await all_events(client, whole[-3].id, **ASKED)
        assert text_of(rest) == ""
        assert rest[0].data["choices"][0]["finish_reason"] == "length"
        assert rest[-1].data is None


@pytest.mark.parametrize("last", ["x y", "1.2.AAAA", "...", "9-5-" + "0" * 16 + "-00000000-00000000"])
async def test_an_id_that_is_none_is_refused(tiny: TinyModel, serve: Serve, last: str) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        body = {**ASKED, "stream": True}
        answer = await client.post("/v1/completions", json=body, headers={"Last-Event-ID": last})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] in ("Last-Event-ID", "resume_token")


async def test_ids_are_short_whatever_the_size_of_the_model(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        whole = await all_events(client, prompt="Romeo ", seed=2**64 - 1, max_tokens=100)
        assert all(0 < len(event.id) < 80 for event in whole[:-1])


async def test_an_id_of_another_request_or_model_is_refused(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, tiny.fp32) as serving, http(serving) as client:
        last = (await all_events(client, **ASKED))[0].id
        refused = (({"prompt": "b"}, 400), ({"seed": 6}, 400), ({"top_k": 2}, 400), ({"model": "fp32"}, 409))
        for changed, status in refused:
            body = {**ASKED, **changed, "stream": True}
            answer = await client.post("/v1/completions", json=body, headers={"Last-Event-ID": last})
            assert answer.status_code == status
            assert answer.json()["error"]["param"] == "Last-Event-ID"
        body = {"resume_token": last, "stream": True}
        assert (await client.post("/v1/completions", json=body)).json()["error"]["param"] == "resume_token"


async def test_behind_an_id_a_text_may_become_longer(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        half = await all_events(client, **ASKED)
        longer = {**ASKED, "max_tokens": 700}
        rest = await all_events(client, half[-3].id, **longer)
        assert text_of(half) + text_of(rest) == text_of(await all_events(client, **longer))


async def test_a_constrained_text_depends_on_its_length_so_an_id_does_too(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        asked = {**ASKED, "regex": "[a-f ]{10,300}"}
        last = (await all_events(client, **asked))[0].id
        body = {**asked, "max_tokens": 200, "stream": True}
        answer = await client.post("/v1/completions", json=body, headers={"Last-Event-ID": last})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Last-Event-ID")


async def test_a_model_that_depends_on_the_batch_has_resume_tokens_as_ids(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        described = serving.service.model("")
        assert described is not None
        described.batch_dependent = True
        whole = await all_events(client, **ASKED)
        assert all("." in event.id for event in whole[:-3])
        rest = await all_events(client, whole[0].id, **ASKED)
        assert text_of(whole[:1]) + text_of(rest) == text_of(whole)


async def test_a_caller_that_leaves_frees_its_row(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS) as serving, http(serving) as client:
        async with opened(client, prompt="the", max_tokens=ENDLESS) as events:
            await anext(events)
            assert serving.service._calls == 1
        await until(lambda: serving.service._calls == 0)


async def test_a_caller_of_a_whole_text_that_leaves_frees_its_row(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS) as serving, http(serving) as client:
        asked = asyncio.create_task(client.post("/v1/completions", json={"max_tokens": ENDLESS // 2**12}))
        await until(lambda: serving.service._calls == 1)
        asked.cancel()
        await until(lambda: serving.service._calls == 0)


async def test_a_reader_that_reads_nothing_is_ended(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS, stall_timeout=0.5) as serving:
        body = json.dumps({"prompt": "the", "max_tokens": ENDLESS, "stream": True}).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", serving.http_port))
            reader.sendall(head.encode() + b"\r\n\r\n" + body)
            await until(lambda: value(serving, "nextchar_rejected_total", reason="stalled") == 1)
            await until(lambda: not serving.door._tasks)
            assert serving.service._calls == 0


async def test_a_stream_that_waits_says_so(tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_events, "PATIENCE", 0.01)
    async with serve(tiny.int8, lanes=1, max_batch=1, max_characters=ENDLESS) as serving, http(serving) as client:
        running = serving.stream("the", max_characters=ENDLESS)
        await running.read()
        body: dict[str, Any] = {"prompt": "the", "max_tokens": 5, "stream": True}
        async with client.stream("POST", "/v1/completions", json=body) as response:
            lines = response.aiter_lines()
            assert (await anext(lines)).startswith(": ")
            running.cancel()
            assert [line async for line in lines][-2] == "data: [DONE]"


async def test_a_drained_stream_continues_elsewhere(tiny: TinyModel, serve: Serve) -> None:
    body: dict[str, Any] = {"prompt": "the", "seed": 4, "max_tokens": 100_000}
    async with serve(tiny.int8) as other, http(other) as second:
        async with serve(tiny.int8, drain_timeout=0.0) as one, http(one) as first:
            async with opened(first, **body) as events:
                begun = [await anext(events)]
                stopping = asyncio.create_task(one.server.stop())
                begun += [event async for event in events]
            await stopping
        assert begun[-1].data["choices"][0]["finish_reason"] == "draining"
        async with opened(second, begun[-1].id, **body) as events:
            begun += [await anext(events) for _ in range(3)]
        text = text_of(begun)
        assert text == await other.text("the", seed=4, max_characters=len(text))


async def test_a_server_that_drains_refuses_new_texts(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS, drain_timeout=60.0) as serving, http(serving) as client:
        async with opened(client, prompt="the", max_tokens=ENDLESS) as events:
            await anext(events)
            stopping = asyncio.create_task(serving.server.stop())
            await until(lambda: serving.service._draining)
            refused = await client.post("/v1/completions", json={"prompt": "the"})
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "draining"
            serving.server.hurry()
            async for _ in events:
                pass
        await stopping


async def test_a_text_by_http_is_counted_and_named_like_one_by_grpc(
    tiny: TinyModel, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(tiny.int8) as serving, http(serving) as client:
        await all_events(client, **ASKED)
        labels = {"grpc_type": "server_stream", "grpc_service": "nextchar.v1.GenerationService"}
        name = "grpc_server_handled_total"
        await until(lambda: value(serving, name, **labels, grpc_method="GenerateStream", grpc_code="OK") == 1)
    assert "peer=http:127.0.0.1:" in capsys.readouterr().out
