"""Completions, scores and models by HTTP: the openai package, and requests of evaluation harnesses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.draws import sample_seed
from tests.support.events import http
from tests.support.known_callers import ENDLESS, value
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

PROMPT: Any = {"model": "int8", "prompt": "the "}


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(f"int8={tiny.int8}") as serving:
        yield serving


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[openai.AsyncOpenAI]:
    """The client that everybody has."""
    async with client_of(serving) as client:
        yield client


@pytest.fixture
async def caller(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with http(serving) as caller:
        yield caller


def client_of(serving: Serving, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{serving.http_port}/v1", api_key="none", **options)


async def test_a_whole_text_is_that_of_grpc(serving: Serving, client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(**PROMPT, max_tokens=50, seed=3, temperature=0.7, top_p=0.9, stop=["\n"])
    expected = await serving.text("the ", max_characters=50, seed=3, temperature=0.7, top_p=0.9, stop_sequences=["\n"])
    assert answer.choices[0].text == expected
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 4
    assert getattr(answer, "seed", None) == 3


async def test_a_streamed_text_is_that_of_grpc(serving: Serving, client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(
        **PROMPT, max_tokens=300, seed=4, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == await serving.text("the ", max_characters=300, seed=4)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(text)


async def test_a_drawn_seed_repeats_the_text(client: openai.AsyncOpenAI) -> None:
    first = await client.completions.create(**PROMPT, max_tokens=30)
    seed = getattr(first, "seed", -1)
    assert 0 <= seed < 2**53
    assert (await client.completions.create(**PROMPT, max_tokens=30, seed=seed)).choices == first.choices


async def test_n_texts_are_those_of_their_seeds(serving: Serving, client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(**PROMPT, max_tokens=20, seed=9, n=3)
    expected = [await serving.text("the ", max_characters=20, seed=sample_seed(9, index)) for index in range(3)]
    assert [choice.text for choice in answer.choices] == expected
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


async def test_the_best_text_of_several_is_one_of_them(client: openai.AsyncOpenAI) -> None:
    all_of_them = await client.completions.create(**PROMPT, max_tokens=20, seed=9, n=4)
    best = await client.completions.create(**PROMPT, max_tokens=20, seed=9, best_of=4)
    assert best.choices[0].text in [choice.text for choice in all_of_them.choices]


async def test_logprobs_are_those_of_grpc_to_the_bit(serving: Serving, client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(**PROMPT, max_tokens=1100, seed=5, logprobs=2, echo=True)
    parameters = pb.GenerationParameters(max_characters=1100, seed=5, top_logprobs=2, echo=True)
    whole = await serving.stub.Generate(pb.GenerateRequest(prompt="the ", parameters=parameters))
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens == list(whole.text)
    assert found.token_logprobs == list(whole.character_logprobs.logprobs)
    assert found.text_offset == list(range(len(whole.text)))
    assert found.top_logprobs is not None
    assert all(len(each) in (2, 3) for each in found.top_logprobs if each)


async def test_a_bias_forbids_a_character(client: openai.AsyncOpenAI) -> None:
    bias: Any = {"e": -100, "a": -100}
    answer = await client.completions.create(**PROMPT, max_tokens=200, logit_bias=bias)
    assert not set(answer.choices[0].text) & {"e", "a"}


async def test_extras_are_fields_of_their_own(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(**PROMPT, max_tokens=20, extra_body={"regex": "[abc]{5}", "top_k": 3})
    assert set(answer.choices[0].text) <= set("abc")
    assert len(answer.choices[0].text) == 5
    schema = {"json_schema": {"type": "boolean"}}
    answer = await client.completions.create(**PROMPT, max_tokens=20, extra_body=schema)
    assert answer.choices[0].text in ("true", "false")


async def test_a_text_continues_from_its_token(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(**PROMPT, max_tokens=60, seed=6)
    wish = {"resume_interval": 0}
    half = await client.completions.create(**PROMPT, max_tokens=30, seed=6, extra_body=wish)
    token = getattr(half.choices[0], "resume_token", "")
    rest: Any = {"max_tokens": 30, "extra_body": {"resume_token": token, "prompt": None}}
    second = await client.completions.create(model="int8", prompt="", **rest)
    assert half.choices[0].text + second.choices[0].text == whole.choices[0].text
    assert getattr(whole.choices[0], "resume_token", None) is None


async def test_a_bad_field_is_named(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        await client.completions.create(**PROMPT, temperature=-1)
    assert error.value.param == "temperature"
    assert error.value.code == "invalid_argument"
    assert error.value.response.headers["request-id"]


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        await client.completions.create(model="gpt", prompt="a")
    assert error.value.code == "model_not_found"


REFUSED = [
    ({"wat": 1}, "wat"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 99}, "logprobs"),
    ({"logit_bias": {"ab": 1}}, "logit_bias['ab']"),
    ({"stop": ["a"] * 99}, "stop"),
    ({"n": 99}, "n"),
    ({"n": 0}, "n"),
    ({"temperature": "hot"}, "temperature"),
    ({"prompt": [1, 2, 3]}, "prompt"),
    ({"prompt": [[1], [2]]}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": "\u2603"}, "prompt"),
    ({"suffix": "x"}, "suffix"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"frequency_penalty": 1}, "frequency_penalty"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"n": 2, "stream": True}, "n"),
    ({"resume_token": "!"}, "resume_token"),
    ({"json_schema": json.loads('{"a":' * 900 + "{}" + "}" * 900)}, "json_schema"),
    ({"resume_token": "abcd", "prompt": "a"}, "resume_token"),
    ({"resume_token": "abcd"}, "resume_token"),
    ({"include_activations": {"layer": 9, "units": [0]}}, "include_activations.layer"),
    ({"regex": "("}, "regex"),
]


@pytest.mark.parametrize(("field", "param"), REFUSED, ids=[str(field)[:40] for field, _ in REFUSED])
async def test_every_bad_field_is_refused_by_its_name(
    caller: httpx.AsyncClient, field: dict[str, Any], param: str
) -> None:
    answer = await caller.post("/v1/completions", json=field)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["message"]


async def test_fields_at_their_neutral_value_are_accepted(caller: httpx.AsyncClient) -> None:
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "suffix": None, "user": "me", "n": 1, "best_of": 1}
    answer = await caller.post("/v1/completions", json={"prompt": "the", "max_tokens": 2, **neutral})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"\xff", b'"x"', b'{"temperature": NaN}', b'{"prompt": "\\ud800"}'])
async def test_what_is_no_request_is_refused(caller: httpx.AsyncClient, body: bytes) -> None:
    answer = await caller.post("/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("most", [0, 1])
async def test_a_harness_gets_the_log_likelihoods_of_its_prompts(
    serving: Serving, caller: httpx.AsyncClient, most: int
) -> None:
    prompts = ["the rest", "a", "Romeo yes"]
    request = {"model": "int8", "prompt": prompts, "temperature": 0, "max_tokens": most}
    answer = (await caller.post("/v1/completions", json={**request, "logprobs": 1, "seed": 1234, "echo": True})).json()
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    for prompt, choice in zip(prompts, choices, strict=True):
        scored = await serving.stub.Score(pb.ScoreRequest(text=prompt))
        columns = choice["logprobs"]
        read = columns["token_logprobs"][: len(columns["tokens"]) - most]  # it leaves the generated one out
        assert read == list(scored.character_logprobs.logprobs)
        assert columns["tokens"][: len(prompt)] == list(prompt)
        for own, top in zip(read, columns["top_logprobs"], strict=False):
            assert own <= max(top.values())  # which it compares, to know whether the text is the likeliest


async def test_several_texts_together_are_bounded(caller: httpx.AsyncClient) -> None:
    answer = await caller.post("/v1/completions", json={"prompt": ["a"] * 1000, "max_tokens": 1000})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"


async def test_a_score_is_that_of_grpc(serving: Serving, caller: httpx.AsyncClient) -> None:
    wanted = {"text": "the rest", "top_logprobs": 2, "include_activations": {"layer": 0, "units": [1]}}
    answer = (await caller.post("/v1/score", json=wanted)).json()
    request = pb.ScoreRequest(text="the rest", top_logprobs=2)
    request.include_activations.units.append(1)
    scored = await serving.stub.Score(request)
    (score,) = answer["scores"]
    assert score["total_logprob"] == scored.total_logprob
    assert [each["logprob"] for each in score["characters"]] == list(scored.character_logprobs.logprobs)
    assert score["activations"]["values"] == list(scored.activations.values)
    assert all(len(each["top_logprobs"]) == 2 for each in score["characters"])
    assert answer["model_digest"] == scored.model_digest


async def test_several_texts_are_scored_in_their_order(caller: httpx.AsyncClient) -> None:
    answer = (await caller.post("/v1/score", json={"texts": ["the", "yes", "a"]})).json()
    assert [score["text"] for score in answer["scores"]] == ["the", "yes", "a"]


@pytest.mark.parametrize("body", [{}, {"text": "a", "texts": ["a"]}, {"text": ""}, {"text": "a", "wat": 1}])
async def test_a_bad_score_is_refused(caller: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await caller.post("/v1/score", json=body)).status_code == 400


async def test_models_are_listed_with_their_facts(client: openai.AsyncOpenAI, caller: httpx.AsyncClient) -> None:
    (model,) = (await client.models.list()).data
    assert model.id == "int8"
    assert (await client.models.retrieve("int8")).id == "int8"
    entry = (await caller.get("/v1/models/int8")).json()
    assert entry["alphabet_kind"] == "characters"
    assert len(entry["digest"]) == 64
    by_digest = await caller.get(f"/v1/models/int8@{entry['digest'][:8]}")
    assert by_digest.json()["digest"] == entry["digest"]
    assert (await caller.get("/v1/models/none")).status_code == 404


async def test_the_openai_client_comes_back_when_the_queue_is_full(tiny: TinyModel, serve: Serve) -> None:
    async with (
        serve(tiny.int8, lanes=1, max_batch=1, queue_size=0, max_characters=ENDLESS) as serving,
        client_of(serving, max_retries=10) as client,
    ):
        running = serving.stream("the", max_characters=ENDLESS)
        await running.read()
        asked = asyncio.create_task(client.completions.create(model="", prompt="the", max_tokens=5))
        await until(lambda: value(serving, "nextchar_rejected_total", reason="queue_full") > 0)
        running.cancel()
        assert len((await asked).choices[0].text) == 5


async def test_a_full_queue_says_when_to_come_back(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=0, max_characters=ENDLESS) as serving:
        running = serving.stream("the", max_characters=ENDLESS)
        await running.read()
        async with http(serving) as caller:
            answer = await caller.post("/v1/completions", json={"prompt": "the"})
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        running.cancel()
