"""Many callers together: places, rows and memory are shared among connections, and unread calls end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from benchmarks.http2 import Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.engine import admission
from nextchar_server.memory import Budget
from nextchar_server.rpc import footprint, incoming, refusals
from tests.support.serving import Serve, Serving, details, failure
from tests.support.tiny_model import TinyModel

ENDLESS = 2**31
SERVICE = "/nextchar.v1.GenerationService/"
PLACES = {"lanes": 1, "max_batch": 4, "queue_size": 4, "max_characters": ENDLESS}


async def until(condition: Callable[[], bool]) -> None:
    """Waits until ``condition`` holds; fails after 20 seconds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def endless(**parameters: Any) -> pb.GenerateStreamRequest:
    """Returns a request for a text without end."""
    return pb.GenerateStreamRequest(
        prompt="the", parameters=pb.GenerationParameters(max_characters=ENDLESS, **parameters)
    )


@asynccontextmanager
async def unread(serving: Serving, method: str, message: Any, count: int) -> AsyncIterator[Connection]:
    """Makes ``count`` calls over one connection, and reads none of their answers."""
    connection = await Connection.open(serving.grpc_port, window=0)
    reading = asyncio.create_task(connection.serve())
    try:
        for _ in range(count):
            connection.call(SERVICE + method, message.SerializeToString())
        await connection.drain()
        yield connection
    finally:
        connection.close()
        await reading


@asynccontextmanager
async def another(serving: Serving) -> AsyncIterator[Any]:
    """Yields a stub with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{serving.grpc_port}", options=options) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


def budget(serving: Serving) -> Budget:
    """The memory budget of the server."""
    return serving.server._budget


async def everything_is_back(serving: Serving) -> None:
    """Waits until no stream, no place and no memory is held."""
    waiting = serving.engine.admission
    await until(lambda: budget(serving).used == 0)
    await until(lambda: (waiting.active, waiting.paused, waiting.waiting, len(waiting._streams)) == (0, 0, 0, 0))
    assert not serving.engine._streams
    assert not budget(serving)._held


# Places.


async def test_stalled_readers_of_one_connection_shut_nobody_out(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, **PLACES) as serving:
        async with unread(serving, "GenerateStream", endless(), 20):
            await until(lambda: sum(len(one.unread) for one in serving.engine.admission._callers.values()) == 8)
            with patch.object(admission, "UNREAD", 0.0):
                texts = await asyncio.gather(*[serving.text("the", seed=n, max_characters=500) for n in range(4)])
            assert [len(text) for text in texts] == [500] * 4
        await everything_is_back(serving)


async def test_a_waiting_request_that_loses_its_place_is_refused_before_any_header(
    tiny: TinyModel, serve: Serve
) -> None:
    async with serve(tiny.int8, **PLACES) as serving, another(serving) as stub:
        hog = [serving.stub.GenerateStream(endless()) for _ in range(8)]
        await until(lambda: serving.engine.admission.waiting == 4)
        newcomer = stub.GenerateStream(endless())
        ends = asyncio.gather(*[asyncio.wait_for(failure(call), 20) for call in hog], return_exceptions=True)
        await until(lambda: sum(call.done() for call in hog) == 1)
        (refused,) = [call for call in hog if call.done()]
        assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "fewer requests" in await refused.details()
        assert "grpc-retry-pushback-ms" in dict(await refused.trailing_metadata())
        assert not await refused.initial_metadata()
        for call in [*hog, newcomer]:
            call.cancel()
        await ends
        await everything_is_back(serving)


async def test_a_newcomer_gets_a_row_before_the_rest_of_a_long_queue(tiny: TinyModel, serve: Serve) -> None:
    settings = {**PLACES, "max_batch": 1, "queue_size": 40, "max_characters": 600}
    async with serve(tiny.int8, **settings) as serving, another(serving) as stub:
        order: list[str] = []

        async def run(name: str, stub: Any) -> None:
            async for _ in stub.GenerateStream(
                pb.GenerateStreamRequest(prompt="the", parameters=pb.GenerationParameters(max_characters=600))
            ):
                pass
            order.append(name)

        hog = [asyncio.create_task(run("hog", serving.stub)) for _ in range(20)]
        await until(lambda: serving.engine.admission.waiting >= 15)
        await run("newcomer", stub)
        place = order.index("newcomer")
        await asyncio.gather(*hog)
        assert place < 15  # without turns it would come last


# Readers that read nothing.


async def test_a_stream_whose_reader_takes_nothing_ends(tiny: TinyModel, serve: Serve) -> None:
    async with (
        serve(tiny.int8, lanes=1, max_characters=ENDLESS, stall_timeout=0.2) as serving,
        unread(serving, "GenerateStream", endless(), 3) as connection,
    ):
        for _ in range(3):
            async with asyncio.timeout(60):
                await connection.ended()  # although it still reads nothing
        await everything_is_back(serving)


async def test_a_reader_that_was_slow_too_long_learns_why_its_stream_ended(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS, stall_timeout=1.0) as serving:
        call = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(call))
        await until(lambda: bool(serving.engine._streams))
        await until(lambda: not serving.engine._streams)
        error = await failure(call)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "took nothing for 1 s" in (error.details() or "")
        await everything_is_back(serving)


async def test_a_stream_that_is_read_slowly_outlives_the_stall_timeout(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS, stall_timeout=0.5) as serving:
        pushed = 0
        call = serving.stream("the", max_characters=ENDLESS)
        events = aiter(call)
        push_stalled = serving.engine.admission.push_stalled

        def counted(seconds: float) -> None:
            nonlocal pushed
            pushed += 1
            push_stalled(seconds)

        with patch.object(serving.engine.admission, "push_stalled", counted):
            while pushed < 24:  # three stall time-outs
                await anext(events)
        assert not call.done()
        call.cancel()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("ListModels", pb.ListModelsRequest()),
        ("GetModel", pb.GetModelRequest()),
        ("Score", pb.ScoreRequest(text="the sun")),
        ("Generate", pb.GenerateRequest(prompt="the")),
    ],
)
async def test_an_answer_that_nobody_reads_is_counted_and_ends(
    method: str, message: Any, tiny: TinyModel, serve: Serve
) -> None:
    async with (
        serve(tiny.int8, lanes=1, stall_timeout=0.5) as serving,
        unread(serving, method, message, 5) as connection,
    ):
        await until(lambda: budget(serving).used >= 5 * footprint.CALL)
        for _ in range(5):
            async with asyncio.timeout(60):
                await connection.ended()
        await everything_is_back(serving)


# Memory.


async def test_calls_beyond_the_memory_budget_are_refused_and_others_served(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, memory_budget=16, max_characters=ENDLESS) as serving:
        async with unread(serving, "GenerateStream", endless(top_logprobs=20), 200):
            room = 16 * 2**20 - budget(serving).used
            await until(lambda: budget(serving).used > 10 * 2**20)
            error = await failure(serving.stub.Generate(pb.GenerateRequest(**_whole(1_000_000))))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "memory" in (error.details() or "")
            assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
            assert len(await serving.text("the", max_characters=500)) == 500
            # What one connection may hold; the calls of the other one are over, and about to be forgotten.
            await until(lambda: budget(serving).used <= 12 * 2**20 < room)
        await everything_is_back(serving)


async def test_every_kind_of_call_gives_its_memory_back(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1) as serving:
        await serving.text("the", max_characters=50, top_logprobs=20, echo=True)
        await serving.stub.Generate(pb.GenerateRequest(**_whole(50)))
        await serving.stub.Score(pb.ScoreRequest(text="the sun", top_logprobs=3))
        await serving.stub.ListModels(pb.ListModelsRequest())
        await failure(serving.stream("€"))
        await failure(serving.stream("the", model="other"))
        cancelled = serving.stream("the", max_characters=100_000)
        await anext(aiter(cancelled))
        cancelled.cancel()
        await everything_is_back(serving)


async def test_a_message_that_is_never_complete_counts_as_the_largest(tiny: TinyModel, serve: Serve) -> None:
    with patch.object(incoming, "SLOW", 0.05):
        async with serve(tiny.int8, lanes=1, memory_budget=16) as serving:
            calls: list[Any] = [serving.channel.stream_unary(SERVICE + "Generate") for _ in range(20)]
            opened = [call() for call in calls]
            await until(lambda: budget(serving).used > 11 * 2**20)
            await until(lambda: sum(call.done() for call in opened) >= 9)
            refused = next(call for call in opened if call.done())
            assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            async with another(serving) as stub:
                await stub.ListModels(pb.ListModelsRequest())
            for call in opened:
                call.cancel()
            await everything_is_back(serving)


def _whole(characters: int) -> dict[str, Any]:
    return {"prompt": "the", "parameters": pb.GenerationParameters(max_characters=characters)}


# Refusals are told apart.


async def test_the_detail_of_a_refusal_for_memory_says_when_to_try_again(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, memory_budget=16, max_characters=ENDLESS) as serving:
        error = await failure(serving.stub.Generate(pb.GenerateRequest(**_whole(1_000_000))))
        assert details(error, RetryInfo).retry_delay.ToMilliseconds() > 0


async def test_a_connection_that_is_refused_often_waits_for_its_refusals(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, memory_budget=16, max_characters=ENDLESS) as serving:
        calls = [asyncio.create_task(_refused(serving)) for _ in range(3 * refusals.AT_ONCE)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        async with another(serving) as stub:
            assert await failure(stub.Generate(pb.GenerateRequest(**_whole(1_000_000))))
            assert not all(call.done() for call in calls)
        told = sorted(await asyncio.gather(*calls))
    assert max(told[: refusals.AT_ONCE]) <= 0.5  # the rest of a delay
    assert min(told[-refusals.AT_ONCE :]) >= 0.5  # a whole one


async def _refused(serving: Serving) -> float:
    """Makes a call that is refused for memory, and returns the seconds after which it should be tried again."""
    error = await failure(serving.stub.Generate(pb.GenerateRequest(**_whole(1_000_000))))
    return float(details(error, RetryInfo).retry_delay.ToMilliseconds() / 1000)
