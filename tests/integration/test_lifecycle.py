"""Cancelled calls, slow readers, probes and draining."""

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.engine.stream import OUTBOX_IDS
from nextchar_server.server import SERVICE
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel

ENDLESS = 2**31


async def until(condition: Callable[[], bool]) -> None:
    """Waits until ``condition`` holds; fails after ten seconds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def metric(serving: Serving, name: str, **labels: str) -> float:
    """Scrapes the metrics and returns the sum of the samples ``name`` with these labels."""
    url = f"http://127.0.0.1:{serving.http_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def counted(serving: Serving, wanted: float, name: str, **labels: str) -> None:
    """Waits until ``metric`` returns ``wanted``: a call is counted a moment after its caller hears of its end."""
    async with asyncio.timeout(60):
        while await metric(serving, name, **labels) != wanted:
            await asyncio.sleep(0.01)


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, max_characters=ENDLESS) as serving:
        yield serving


async def test_a_cancelled_call_frees_its_row(serving: Serving) -> None:
    call = serving.stream("the", max_characters=ENDLESS)
    async for event in call:
        if event.HasField("delta"):
            break
    assert serving.engine.admission.active == 1
    call.cancel()
    await until(lambda: serving.engine.admission.active == 0)


async def test_a_call_cancelled_in_the_queue_leaves_it(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, max_characters=ENDLESS) as serving:
        running = asyncio.create_task(serving.text("the", max_characters=ENDLESS))  # it is read, and keeps its row
        await until(lambda: serving.engine.admission.active == 1)
        queued = serving.stream("the")
        await until(lambda: serving.engine.admission.waiting == 1)
        queued.cancel()
        await until(lambda: serving.engine.admission.waiting == 0)
        running.cancel()


@pytest.mark.slow
async def test_a_slow_reader_is_paused_and_still_gets_the_whole_text(tiny: TinyModel, serve: Serve) -> None:
    characters = 50_000  # twice as many as fit into the windows and the outbox
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS) as serving:
        slow = serving.stream("the", seed=1, max_characters=characters)
        events = aiter(slow)
        await anext(events)
        # Nobody reads: gRPC's windows fill, then the outbox, then the row leaves its batch.
        await until(lambda: serving.engine.admission.paused == 1)
        await until(lambda: serving.engine.admission.active == 0)
        assert len(await serving.text("the", seed=2, max_characters=500)) == 500  # other streams don't notice
        text = "".join([event.delta.text async for event in events])
        assert len(text) == characters
        assert text == await serving.text("the", seed=1, max_characters=characters)


async def test_the_outbox_of_a_slow_reader_is_bounded(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS) as serving:
        slow = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(slow))
        await until(lambda: serving.engine.admission.paused == 1)
        (stream,) = serving.engine._streams
        # The row leaves when the outbox is full or the reader is late; one turn may add to that.
        assert 0 < sum(len(chunk.ids) for chunk in stream._outbox) <= 3 * OUTBOX_IDS
        slow.cancel()
        await until(lambda: serving.engine.admission.paused == 0)


async def test_a_reader_that_goes_away_while_its_message_is_written_is_no_error(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS) as serving:
        slow = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(slow))
        await until(lambda: serving.engine.admission.paused == 1)
        slow.cancel()
        await until(lambda: serving.engine.admission.paused == 0)
        await counted(serving, 1, "grpc_server_handled_total", grpc_code="CANCELLED")
        assert await metric(serving, "grpc_server_handled_total", grpc_code="INTERNAL") == 0


async def test_a_client_that_goes_away_frees_its_row(serving: Serving) -> None:
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{serving.grpc_port}")
    call = type(serving.stub)(channel).GenerateStream(
        pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=ENDLESS))
    )
    await anext(aiter(call))
    await until(lambda: serving.engine.admission.active == 1)
    await channel.close()
    await until(lambda: serving.engine.admission.active == 0)


async def test_health_is_serving_for_the_server_and_the_service(serving: Serving) -> None:
    stub = health_pb2_grpc.HealthStub(serving.channel)
    for service in ("", SERVICE):
        response = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    error = await failure(stub.Check(health_pb2.HealthCheckRequest(service="other")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    await counted(serving, 1, "grpc_server_handled_total", grpc_code="NOT_FOUND")
    assert await metric(serving, "grpc_server_handled_total", grpc_code="INTERNAL") == 0


async def test_probes_answer(serving: Serving) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{serving.http_port}") as session:
        for path in ("/healthz", "/readyz"):
            async with session.get(path) as response:
                assert response.status == 200


async def test_metrics_count_calls_and_characters(serving: Serving) -> None:
    await serving.text("the sun", max_characters=300)
    await failure(serving.stream("€"))
    assert await metric(serving, "nextchar_generated_characters_total", model="int8") == 300
    assert await metric(serving, "nextchar_prompt_characters_total", model="int8") == 7
    assert await metric(serving, "nextchar_finished_total", reason="FINISH_REASON_MAX_CHARACTERS") == 1
    assert await metric(serving, "nextchar_rejected_total", reason="invalid_argument") == 1
    assert await metric(serving, "grpc_server_started_total", grpc_method="GenerateStream") == 2
    assert await metric(serving, "grpc_server_handled_total", grpc_code="OK", grpc_type="server_stream") == 1
    assert await metric(serving, "grpc_server_handled_total", grpc_code="INVALID_ARGUMENT") == 1
    assert await metric(serving, "grpc_server_handling_seconds_count") == 2
    assert await metric(serving, "nextchar_time_to_first_character_seconds_count") == 1
    assert await metric(serving, "nextchar_queue_seconds_count") == 1
    assert (
        await metric(serving, "nextchar_batch_rows_count") == await metric(serving, "nextchar_step_seconds_count") > 0
    )
    assert await metric(serving, "nextchar_active_streams") == 0
    assert await metric(serving, "nextchar_model_info", precision="int8", provider="cpu") == 1


async def test_metrics_count_a_cancelled_call_and_a_passed_deadline(serving: Serving) -> None:
    call = serving.stream("the", max_characters=ENDLESS)
    await anext(aiter(call))
    call.cancel()
    late = serving.stub.GenerateStream(
        pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=ENDLESS)), timeout=0.05
    )
    await failure(late)
    await until(lambda: serving.engine.admission.active == 0)
    await counted(serving, 1, "grpc_server_handled_total", grpc_code="CANCELLED")
    await counted(serving, 1, "grpc_server_handled_total", grpc_code="DEADLINE_EXCEEDED")


async def test_open_metrics_are_served_on_request(serving: Serving) -> None:
    async with aiohttp.ClientSession() as session:
        headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get(f"http://127.0.0.1:{serving.http_port}/metrics", headers=headers) as response:
            assert response.content_type == "application/openmetrics-text"
            assert (await response.text()).endswith("# EOF\n")


@pytest.mark.slow
async def test_draining_lets_a_running_stream_finish_and_turns_new_ones_away(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS, drain_timeout=60.0) as serving:
        # So long that it is still running when the drain begins, because its reader waits for that.
        running = serving.stream("the", seed=1, max_characters=50_000)
        events = aiter(running)
        await anext(events)
        await until(lambda: serving.engine.admission.paused == 1)
        health = health_pb2_grpc.HealthStub(serving.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

        stopping = asyncio.create_task(serving.server.stop())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = await failure(serving.stream("the"))
        # gRPC's core cancels a call that comes while it shuts its door. The client tries both again.
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{serving.http_port}/readyz") as response:
                assert response.status == 503
            async with session.get(f"http://127.0.0.1:{serving.http_port}/healthz") as response:
                assert response.status == 200

        rest = [event async for event in events]
        assert sum(len(event.delta.text) for event in rest) == 50_000
        assert rest[-1].finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS
        await stopping


async def test_a_stream_that_outlasts_the_drain_timeout_ends_with_that_reason(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS, drain_timeout=0.05) as serving:
        running = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(running))
        stopping = asyncio.create_task(serving.server.stop())
        events = [event async for event in running]
        assert events[-1].finished.finish_reason == pb.FINISH_REASON_DRAINING
        await stopping


async def test_characters_sampled_beyond_a_stop_sequence_are_not_counted(serving: Serving) -> None:
    text = await serving.text("the", seed=5, max_characters=50)
    before = await metric(serving, "nextchar_generated_characters_total")
    call = serving.stream("the", seed=5, max_characters=100_000, stop_sequences=[text[20:30]])
    finished = [event async for event in call][-1].finished
    counted = await metric(serving, "nextchar_generated_characters_total") - before
    assert counted == finished.usage.generated_characters


async def test_a_reader_that_reads_nothing_does_not_hold_up_a_server_that_stops(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS, drain_timeout=0.0) as serving:
        stuck = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(stuck))
        await until(lambda: serving.engine.admission.paused == 1)
        async with asyncio.timeout(60):
            await serving.server.stop()


async def test_a_server_told_to_hurry_waits_for_no_reader(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS, drain_timeout=600.0) as serving:
        stuck = serving.stream("the", max_characters=ENDLESS)
        await anext(aiter(stuck))
        await until(lambda: serving.engine.admission.paused == 1)
        stopping = asyncio.create_task(serving.server.stop())
        await until(lambda: serving.service._patience is not None)
        serving.server.hurry()
        async with asyncio.timeout(60):
            await stopping


async def test_three_good_texts_then_an_error_then_a_good_one(serving: Serving) -> None:
    for seed in range(3):
        assert len(await serving.text("the", seed=seed, max_characters=50)) == 50
    assert (await failure(serving.stream("€"))).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(await serving.text("the", max_characters=50)) == 50


# Starting and stopping.


async def test_stopping_twice_is_stopping_once(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        await serving.server.stop()
        await serving.server.stop()
        error = await failure(serving.stream("the"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_localhost_is_an_address_to_listen_on(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, host="localhost") as serving:
        assert len(await serving.text("the", max_characters=5)) == 5
