"""Candidates that follow one prefix: scored as in the whole text, in turns, within the limits of any call."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest

from nextchar.v1 import generation_pb2 as pb
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel, make_text
from tests.support.waiting import until


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


def candidates(count: int) -> list[str]:
    return [make_text(1 + number % 7, seed=number) for number in range(count)]


@pytest.mark.parametrize("prefix", ["", "the sun", make_text(150)], ids=["none", "short", "long"])
async def test_a_candidate_has_the_bits_that_it_has_in_the_whole_text(serving: Serving, prefix: str) -> None:
    texts = candidates(100)
    answer = await serving.stub.Rescore(pb.RescoreRequest(prefix=prefix, candidates=texts, top_logprobs=2))
    for text, score in zip(texts, answer.scores, strict=True):
        whole = await serving.stub.Score(pb.ScoreRequest(text=prefix + text, top_logprobs=2))
        columns, own = whole.character_logprobs, score.character_logprobs
        assert score.text == text
        assert list(own.logprobs) == list(columns.logprobs)[len(prefix) :]
        assert own.alternatives == columns.alternatives[2 * len(prefix) :]
        assert score.total_logprob == np.sum(own.logprobs, dtype=np.longdouble).astype(np.float64)


async def test_candidates_have_the_same_bits_beside_other_streams(tiny: TinyModel, serving: Serving) -> None:
    request = pb.RescoreRequest(prefix=tiny.text[:300], candidates=candidates(200))
    alone = await serving.stub.Rescore(request)
    others = [asyncio.create_task(serving.text("the", seed=seed, max_characters=2000)) for seed in range(16)]
    answers = await asyncio.gather(*(serving.stub.Rescore(request) for _ in range(3)))
    await asyncio.gather(*others)
    assert [list(answer.scores) for answer in answers] == [list(alone.scores)] * 3


async def test_a_call_leaves_half_of_the_free_places_to_others(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=4, queue_size=6) as serving:
        texts = [make_text(60, seed=number) for number in range(200)]
        call = asyncio.ensure_future(serving.stub.Rescore(pb.RescoreRequest(candidates=texts)))
        most = 0
        while not call.done():
            most = max(most, serving.engine.admission.held)
            await asyncio.sleep(0)
        assert len((await call).scores) == 200
        assert 1 < most <= 5


async def test_an_abandoned_call_frees_its_places(tiny: TinyModel, serving: Serving) -> None:
    call = serving.stub.Rescore(pb.RescoreRequest(candidates=[tiny.text[:200]] * 70))
    await until(lambda: serving.engine.admission.held >= 10)
    call.cancel()
    await until(lambda: not serving.engine.admission.held)


async def test_a_call_is_refused_while_no_place_is_free(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=1) as serving:
        streams = [serving.stream("the", max_characters=100_000) for _ in range(2)]
        await until(lambda: serving.engine.admission.held == 2)
        error = await failure(serving.stub.Rescore(pb.RescoreRequest(candidates=["the"])))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for stream in streams:
            stream.cancel()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "candidates: 0 texts; there must be 1 to 1000"),
        ({"candidates": ["a"] * 1001}, "candidates: 1001 texts; there must be 1 to 1000"),
        ({"candidates": ["a", ""]}, "candidates[1]: there is no character to score"),
        ({"candidates": ["a", "at€"]}, "candidates[1]: character '€' (U+20AC) at offset 2"),
        ({"prefix": "€", "candidates": ["a"]}, "prefix: character '€' (U+20AC) at offset 0"),
        ({"candidates": ["a" * 30, "a" * 21]}, "candidates: this server accepts at most 50 characters of all together"),
        ({"candidates": ["a" * 300]}, "candidates: 300 code points; this server accepts at most 50 characters"),
        ({"candidates": ["a"], "top_logprobs": 21}, "top_logprobs: 21 is not between 0 and 20"),
        ({"candidates": ["a"], "replacement_character": "a"}, "replacement_character: only goes with"),
    ],
    ids=itertools.count(),
)
async def test_a_bad_request_is_refused_with_the_name_of_its_field(
    tiny: TinyModel, serve: Serve, fields: dict[str, object], message: str
) -> None:
    async with serve(tiny.int8, max_prompt_characters=50) as serving:
        error = await failure(serving.stub.Rescore(pb.RescoreRequest(**fields)))  # type: ignore[arg-type]
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (error.details() or "").startswith(message)
