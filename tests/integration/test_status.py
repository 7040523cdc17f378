"""Every error that a caller can get has its status, through a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.returns import LONGEST, SHORTEST
from tests.support.serving import Serve, Serving, details, failure
from tests.support.tiny_model import TinyModel


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, max_characters=5000, max_prompt_characters=1000) as serving:
        yield serving


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"temperature": -1.0}, "parameters.temperature"),
        ({"temperature": float("nan")}, "parameters.temperature"),
        ({"top_p": 0.0}, "parameters.top_p"),
        ({"top_p": 2.0}, "parameters.top_p"),
        ({"min_p": -0.1}, "parameters.min_p"),
        ({"max_characters": 0}, "parameters.max_characters"),
        ({"max_characters": 5001}, "parameters.max_characters"),
        ({"stop_sequences": ["the", ""]}, "parameters.stop_sequences[1]"),
        ({"top_logprobs": 21}, "parameters.top_logprobs"),
        ({"character_bias": {"€": 1.0}}, "parameters.character_bias['€']"),
    ],
)
async def test_a_bad_parameter_is_named(serving: Serving, parameters: dict[str, Any], field: str) -> None:
    error = await failure(serving.stream("the", **parameters))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(error.details()).startswith(f"{field}: ")
    (violation,) = details(error, BadRequest).field_violations
    assert violation.field == field


async def test_an_unknown_character_is_named_with_its_offset(serving: Serving) -> None:
    error = await failure(serving.stream("the €uro"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "prompt: character '€' (U+20AC) at offset 4 is not in the model's alphabet"


async def test_unknown_characters_are_skipped_or_replaced_if_the_request_says_so(serving: Serving) -> None:
    known = await serving.text("the sun", seed=1)
    assert await serving.text("t€he s€un", seed=1, unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP) == known
    replaced = await serving.text(
        "th€ sun", seed=1, unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character="e"
    )
    assert replaced == known


async def test_a_prompt_of_a_megabyte_is_refused_with_the_limit(serving: Serving) -> None:
    error = await failure(serving.stream("a" * 1_000_000))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "prompt: 1000000 code points; this server accepts at most 1000 characters"


async def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(serving: Serving) -> None:
    error = await failure(serving.stream("the", model="hamlet"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "no model 'hamlet'; this server has int8"


async def test_a_long_unknown_name_fits_into_the_trailers(serving: Serving) -> None:
    error = await failure(serving.stream("the", model="🎭" * 100_000))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "🎭" in str(error.details())


async def test_the_largest_answer_reaches_a_client_of_default_settings(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        request = pb.ScoreRequest(text=(tiny.text * 20)[:11_900], top_logprobs=20)
        assert len((await serving.stub.Score(request)).character_logprobs.logprobs) == 11_900


async def test_a_resume_token_that_no_server_made_is_invalid(serving: Serving) -> None:
    error = await failure(serving.stub.GenerateStream(pb.GenerateStreamRequest(resume_token=b"x")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error, BadRequest).field_violations[0].field == "resume_token"


async def test_a_resume_token_of_another_model_is_a_failed_precondition(tiny: TinyModel, serve: Serve) -> None:
    async with serve(f"small={tiny.int8}", f"exact={tiny.fp32}") as serving:
        events = [event async for event in serving.stream("the", max_characters=1)]
        request = pb.GenerateRequest(model="exact", resume_token=events[-1].finished.resume_token)
        error = await failure(serving.stub.Generate(request))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert str(error.details()).startswith(
        f"resume_token: is of the model file {events[0].started.model_digest}; exact"
    )


async def test_every_call_ends_with_its_request_id(serving: Serving) -> None:
    call = serving.stream("the", max_characters=1)
    events = [event async for event in call]
    trailing = dict(await call.trailing_metadata())
    assert trailing["request-id"] == events[0].started.request_id != ""
    error = await failure(serving.stream("€"))
    assert dict(error.trailing_metadata())["request-id"]


async def test_a_full_queue_is_resource_exhausted_before_any_header(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=1, max_characters=2**31) as serving:
        running = serving.stream("the", max_characters=2**31)
        await anext(aiter(running))
        waiting = serving.stream("the")
        await anext(aiter(waiting))  # it is queued: Started has been sent, but no text
        refused = serving.stream("the")
        error = await failure(refused)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        milliseconds = details(error, RetryInfo).retry_delay.ToMilliseconds()
        assert 1000 * SHORTEST / 2 <= milliseconds <= 1000 * LONGEST * 1.5
        assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == str(milliseconds)
        running.cancel()
        waiting.cancel()


async def test_a_deadline_passes_while_running(serving: Serving) -> None:
    stub = serving.stub
    request = pb.GenerateStreamRequest(prompt="the", parameters=pb.GenerationParameters(max_characters=5000))
    error = await failure(stub.GenerateStream(request, timeout=0.02))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_deadline_passes_in_the_queue(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, max_characters=2**31) as serving:
        running = serving.stream("the", max_characters=2**31)
        await anext(aiter(running))
        request = pb.GenerateStreamRequest(prompt="the")
        waiting = serving.stub.GenerateStream(request, timeout=0.1)
        error = await failure(waiting)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        admission = serving.engine.admission
        while admission.waiting:
            await asyncio.sleep(0)
        running.cancel()


async def test_of_an_internal_error_the_caller_learns_only_the_request_id(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        runner = serving.engine._lanes[0]._runner
        with patch.object(runner, "advance", side_effect=RuntimeError("secret of the house")):
            error = await failure(serving.stream("the"))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert error.details() == f"internal error; request id {dict(error.trailing_metadata())['request-id']}"
        assert len(await serving.text("the", max_characters=5)) == 5  # the lane continues
