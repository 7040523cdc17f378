"""The load generator of ``nextchar bench`` against a server that plays scripts, and against a real one."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import InternalError
from nextchar_client.bench.generator import LoadGenerator
from nextchar_client.bench.load import Load
from nextchar_client.bench.measurement import Report
from tests.support.scripted_server import FINISHED, HANG, MODEL, STARTED, WHOLE, Abort, ScriptedServer, Status, delta
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.scripts = [MODEL, WHOLE]  # a text of 8 characters in 2 messages, forever
        yield server


async def report_of(server: ScriptedServer, load: Load) -> Report:
    generator = LoadGenerator(server.endpoint, load)
    await generator.run()
    return generator.measurement.report()


@pytest.mark.parametrize("who", [{"streams": 4}, {"streams": 4, "ramp": 0.02}, {"streams": 30}, {"rate": 1000.0}])
async def test_the_requests_are_sent_and_everything_is_counted(server: ScriptedServer, who: dict[str, Any]) -> None:
    report = await report_of(server, Load(requests=20, **who))
    assert len(server.requests) == 1 + 20
    assert (report.requests, report.completed, report.failed, report.unfinished) == (20, 20, 0, 0)
    assert (report.characters, report.messages) == (160, 40)
    assert (report.model, report.model_digest) == ("tiny", "0123456789abcdef")


@pytest.mark.parametrize("who", [{"streams": 1}, {"rate": 1000.0}])
async def test_the_warm_up_is_sent_but_not_counted(server: ScriptedServer, who: dict[str, Any]) -> None:
    server.scripts = [MODEL, *[[STARTED, delta("warm"), Abort(Status.INTERNAL)]] * 7, WHOLE]
    report = await report_of(server, Load(requests=5, warm_up=7, **who))
    assert len(server.requests) == 1 + 7 + 5
    assert (report.requests, report.completed, report.failed) == (5, 5, 0)


async def test_the_warm_up_is_in_no_latency(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, WHOLE, [Abort(Status.INTERNAL)]]
    report = await report_of(server, Load(streams=1, requests=3, warm_up=2))
    assert (report.characters, report.messages, report.characters_per_second) == (0, 0, 0)
    assert (report.first_character_seconds, report.inter_character_seconds) == (None, None)
    assert (report.fastest_seconds, report.slowest_seconds) == (None, None)


@pytest.mark.parametrize("who", [{"streams": 4}, {"rate": 200.0}])
async def test_all_requests_of_a_load_in_seconds_are_waited_for(server: ScriptedServer, who: dict[str, Any]) -> None:
    report = await report_of(server, Load(seconds=0.2, warm_up=2, **who))
    assert report.requests > 0
    assert (report.completed, report.failed, report.unfinished) == (report.requests, 0, 0)
    assert len(server.requests) >= 1 + 2 + report.requests


async def test_a_closed_loop_has_one_running_request_per_caller(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    generator = LoadGenerator(server.endpoint, Load(streams=3, requests=20))
    running = asyncio.create_task(generator.run())
    await server.received(1 + 3)
    assert generator.measurement.running == 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(server.requests) == 1 + 3


async def test_an_open_loop_keeps_sending_while_nothing_is_answered(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    generator = LoadGenerator(server.endpoint, Load(rate=1000.0, requests=20))
    running = asyncio.create_task(generator.run())
    await server.received(1 + 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    report = generator.measurement.report()
    assert (report.requests, report.completed, report.unfinished) == (20, 0, 20)
    assert await asyncio.to_thread(server.cancelled.wait, 10)


async def test_in_an_open_loop_time_starts_when_a_request_should_have_been_sent(server: ScriptedServer) -> None:
    generator = LoadGenerator(server.endpoint, Load(rate=100.0, requests=20))
    running = asyncio.create_task(generator.run())
    await server.received(1 + 1)
    time.sleep(0.5)  # noqa: ASYNC251 - it stops the load generator while it should send all the others
    await running
    waited = generator.measurement.report().first_character_seconds
    assert waited is not None
    assert waited.p50 > 0.2


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([Abort(Status.INVALID_ARGUMENT)], "INVALID_ARGUMENT"),
        ([Abort(Status.RESOURCE_EXHAUSTED)], "RESOURCE_EXHAUSTED"),
        ([Abort(Status.UNAVAILABLE)], "UNAVAILABLE"),
        ([STARTED], "INCOMPLETE"),
        (
            [STARTED, pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=pb.FINISH_REASON_DRAINING))],
            "DRAINING",
        ),
    ],
)
async def test_an_error_is_counted_under_its_status_and_in_no_latency(
    server: ScriptedServer, script: Sequence[Any], status: str
) -> None:
    server.scripts = [MODEL, script]
    report = await report_of(server, Load(streams=2, requests=6))
    assert (report.requests, report.completed, report.failed, report.errors) == (6, 0, 6, {status: 6})
    assert (report.first_character_seconds, report.inter_character_seconds) == (None, None)
    assert (report.fastest_seconds, report.slowest_seconds) == (None, None)
    assert len(server.requests) == 1 + 6  # none was retried


async def test_good_requests_count_beside_failed_ones(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, [STARTED, delta("abc"), Abort(Status.INTERNAL)], [Abort(Status.UNAVAILABLE)], WHOLE]
    report = await report_of(server, Load(streams=1, requests=5))
    assert (report.completed, report.failed, report.errors) == (3, 2, {"INTERNAL": 1, "UNAVAILABLE": 1})
    assert report.characters == 3 * 8 + 3


async def test_a_passed_timeout_is_counted(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    report = await report_of(server, Load(streams=2, requests=2, timeout=1.0))
    assert report.errors == {"DEADLINE_EXCEEDED": 2}


@pytest.mark.parametrize("who", [{"streams": 5}, {"rate": 100.0}])
async def test_a_real_server_answers_every_request_in_full(tiny: TinyModel, serve: Serve, who: dict[str, Any]) -> None:
    async with serve(tiny.int8) as serving:
        load = Load(requests=12, warm_up=2, prompt_characters=(0, 40), max_characters=(70, 70), **who)
        generator = LoadGenerator(f"127.0.0.1:{serving.grpc_port}", load)
        await generator.run()
    report = generator.measurement.report()
    assert (report.requests, report.completed, report.errors) == (12, 12, {})
    assert 12 * 70 <= report.characters <= 14 * 70  # characters of the warm-up that came in the window count as well
    assert report.model_digest
    assert report.first_character_seconds is not None
    assert report.inter_character_seconds is not None


async def test_a_full_queue_is_an_error_of_the_requests_that_met_it(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=0) as serving:
        load = Load(streams=8, requests=8, max_characters=(2000, 2000))
        generator = LoadGenerator(f"127.0.0.1:{serving.grpc_port}", load)
        await generator.run()
    report = generator.measurement.report()
    assert report.completed >= 1
    assert report.errors == {"RESOURCE_EXHAUSTED": 8 - report.completed}


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ([STARTED, delta("a"), delta("b", 997), FINISHED], "character 997 in place of 1"),
        ([STARTED, delta("a", 1), FINISHED], "character 1 in place of 0"),
        ([STARTED, delta("a")], "without its last event"),
    ],
)
async def test_a_text_that_is_not_whole_is_a_failed_request(
    server: ScriptedServer, script: list[object], complaint: str
) -> None:
    server.scripts = [MODEL, script]
    generator = LoadGenerator(server.endpoint, Load(requests=1))
    await generator.run()
    assert generator.measurement.report().errors == {"INCOMPLETE": 1}
    assert complaint in generator.measurement.complaints["INCOMPLETE"]


async def test_a_model_without_an_alphabet_is_an_error_of_the_server(server: ScriptedServer) -> None:
    server.scripts = [[pb.GetModelResponse()]]
    with pytest.raises(InternalError, match="alphabet"):
        await LoadGenerator(server.endpoint, Load(requests=1)).run()
