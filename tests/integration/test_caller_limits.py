"""The limits of each caller: texts at once, and characters per second."""

import asyncio

import grpc
from google.rpc.error_details_pb2 import RetryInfo

from nextchar.v1 import generation_pb2 as pb
from tests.support.known_callers import ENDLESS, OTHER_TOKEN, TOKEN, Open, characters, shown, stream, value
from tests.support.serving import details, failure
from tests.support.waiting import until

Status = grpc.StatusCode


async def test_a_caller_has_as_many_texts_at_once_as_it_may(opened: Open) -> None:
    async with opened(caller_streams=2) as serving:
        running = [stream(serving, max_characters=ENDLESS) for _ in range(2)]
        for call in running:
            await call.read()
        error = await failure(stream(serving))
        assert error.code() is Status.RESOURCE_EXHAUSTED
        assert details(error, RetryInfo).retry_delay.ToMilliseconds() > 0
        await until(lambda: value(serving, "nextchar_rejected_total", reason="caller_streams") == 1)
        assert await characters(stream(serving, OTHER_TOKEN)) == 20
        assert len((await serving.stub.ListModels(pb.ListModelsRequest(), metadata=shown(TOKEN))).models) == 1
        running[0].cancel()
        await until(lambda: value(serving, "nextchar_caller_calls_total", caller="ann", code="CANCELLED") == 1)
        assert await characters(stream(serving)) == 20
        running[1].cancel()


async def test_a_caller_above_its_rate_is_told_when_to_come_back(opened: Open) -> None:
    async with opened(caller_rate=10) as serving:
        await serving.stub.Score(pb.ScoreRequest(text="the" * 1000), metadata=shown(TOKEN))
        error = await failure(stream(serving))
        assert error.code() is Status.RESOURCE_EXHAUSTED
        assert 200 < details(error, RetryInfo).retry_delay.ToSeconds() < 450
        await until(lambda: value(serving, "nextchar_rejected_total", reason="caller_rate") == 1)
        assert await characters(stream(serving, OTHER_TOKEN)) == 20


async def test_the_steps_of_a_completion_count_against_its_callers_rate(opened: Open) -> None:
    async with opened(caller_rate=1) as serving:
        await serving.stub.Complete(pb.CompleteRequest(prompt="the"), metadata=shown(TOKEN))
        error = await failure(serving.stub.Complete(pb.CompleteRequest(prompt="the "), metadata=shown(TOKEN)))
        assert error.code() is Status.RESOURCE_EXHAUSTED
        await until(lambda: value(serving, "nextchar_rejected_total", reason="caller_rate") == 1)


async def test_a_text_above_its_callers_rate_waits_outside_the_batch(opened: Open) -> None:
    async with opened(caller_rate=10) as serving:
        slowed = stream(serving, max_characters=ENDLESS)
        await slowed.read()
        await until(lambda: serving.engine.admission.paused == 1)
        assert await characters(stream(serving, OTHER_TOKEN, max_characters=10)) == 10
        slowed.cancel()


async def test_a_text_that_is_slowed_drains_in_time(opened: Open) -> None:
    async with opened(caller_rate=1, drain_timeout=0.1) as serving:
        slowed = aiter(stream(serving, max_characters=ENDLESS))
        await anext(slowed)
        stopping = asyncio.create_task(serving.server.stop())
        events = [event async for event in slowed]
        assert events[-1].finished.finish_reason == pb.FINISH_REASON_DRAINING
        await stopping


async def test_scores_in_streams_and_of_candidates_count_as_texts_and_as_characters(opened: Open) -> None:
    async with opened(caller_streams=1, caller_rate=10) as serving:
        scores = serving.stub.ScoreStream(metadata=shown(TOKEN))
        await scores.write(pb.ScoreStreamRequest(text="the" * 300, is_end=True))
        await scores.read()
        candidates = pb.RescoreRequest(candidates=["the"])
        await failure(serving.stub.Rescore(candidates, metadata=shown(TOKEN)))
        await until(lambda: value(serving, "nextchar_rejected_total", reason="caller_streams") == 1)
        await scores.done_writing()
        while await scores.read() is not grpc.aio.EOF:
            pass
        error = await failure(serving.stub.Rescore(candidates, metadata=shown(TOKEN)))
        assert error.code() is Status.RESOURCE_EXHAUSTED
        await until(lambda: value(serving, "nextchar_rejected_total", reason="caller_rate") == 1)
        assert value(serving, "nextchar_caller_characters_total", caller="ann") == 900
