"""The line that each call leaves in the log: what it was for, how long it took, and how it ended."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from structlog.testing import capture_logs

from nextchar.v1 import generation_pb2 as pb
from tests.support.events import http
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


async def line(call: Awaitable[Any]) -> dict[str, Any]:
    """Makes ``call``, and returns its line in the log."""
    with capture_logs() as lines:
        await call
        await until(lambda: any(line["event"] == "call" for line in lines))
    (found,) = [line for line in lines if line["event"] == "call"]
    return dict(found)


def request(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="he", parameters=pb.GenerationParameters(max_characters=5, seed=1), **fields)


async def test_that_of_a_text_has_its_model_characters_end_and_times(serving: Serving) -> None:
    found = await line(serving.stub.Generate(request()))
    assert (found["model"], found["prompt_characters"], found["generated_characters"]) == ("int8", 2, 5)
    assert found["finish_reason"] == "MAX_CHARACTERS"
    assert 0 <= found["queue_seconds"] <= found["first_character_seconds"] <= found["seconds"]


async def test_that_of_several_texts_counts_the_prompt_once_and_all_characters(serving: Serving) -> None:
    found = await line(serving.stub.Generate(request(samples=3)))
    assert (found["prompt_characters"], found["generated_characters"]) == (2, 15)
    assert found["finish_reason"] == "MAX_CHARACTERS"
    assert found["queue_seconds"] >= 0


async def test_that_of_a_score_has_the_characters_and_no_generated_ones(serving: Serving) -> None:
    found = await line(serving.stub.Score(pb.ScoreRequest(text="the")))
    assert found["prompt_characters"] == 3
    assert found["queue_seconds"] >= 0
    assert not {"generated_characters", "first_character_seconds", "finish_reason"} & set(found)


async def test_that_of_completions_has_the_characters_of_the_prompt(serving: Serving) -> None:
    found = await line(serving.stub.Complete(pb.CompleteRequest(prompt="he")))
    assert found["prompt_characters"] == 2
    assert found["queue_seconds"] >= 0


async def test_that_of_a_refused_call_has_the_model_and_no_times(serving: Serving) -> None:
    found = await line(failure(serving.stub.Score(pb.ScoreRequest(text="\u2603"))))
    assert found["code"] == "INVALID_ARGUMENT"
    assert found["model"]
    assert "queue_seconds" not in found


async def test_that_of_a_call_over_http_has_the_same(serving: Serving) -> None:
    async with http(serving) as caller:
        found = await line(caller.post("/v1/completions", json={"model": "int8", "prompt": "he", "max_tokens": 5}))
    assert (found["model"], found["prompt_characters"], found["generated_characters"]) == ("int8", 2, 5)
    assert 0 <= found["queue_seconds"] <= found["first_character_seconds"] <= found["seconds"]
    assert found["peer"].startswith("http:127.0.0.1:")


async def test_that_of_a_description_has_the_model(serving: Serving) -> None:
    found = await line(serving.stub.GetModel(pb.GetModelRequest()))
    assert found["model"] == "int8"


async def test_that_of_another_call_has_none_of_these(serving: Serving) -> None:
    found = await line(serving.stub.ListModels(pb.ListModelsRequest()))
    assert set(found) == {"event", "log_level", "method", "code", "seconds", "peer"}
