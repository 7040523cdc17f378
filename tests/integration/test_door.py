"""Whatever a caller sends, its call ends at once, is counted and logged, and nobody else notices."""

import asyncio
import gzip
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from benchmarks.http2 import Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar_server.rpc import incoming, interceptor
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel

SERVICE = "/nextchar.v1.GenerationService/"
METHODS = {
    "Generate": SERVICE + "Generate",
    "GenerateStream": SERVICE + "GenerateStream",
    "Score": SERVICE + "Score",
    "GetModel": SERVICE + "GetModel",
    "ListModels": SERVICE + "ListModels",
    "Check": "/grpc.health.v1.Health/Check",
    "Watch": "/grpc.health.v1.Health/Watch",
    "ServerReflectionInfo": "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
}
BROKEN = b"\x0a\x05ab"
NOT_UTF_8 = b"\x0a\x02\xff\xfe"
Status = grpc.StatusCode


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, max_characters=5000, max_prompt_characters=1000) as serving:
        yield serving


@pytest.fixture
def lines(serving: Serving) -> Iterator[list[Any]]:
    """The events that the server logs."""
    with capture_logs() as events:
        yield events


def counted(serving: Serving, code: Status, method: str) -> float:
    """Returns how many calls of ``method`` ended with ``code``."""
    registry = serving.server._metrics.registry
    return sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "grpc_server_handled_total"
        and (sample.labels["grpc_code"], sample.labels["grpc_method"]) == (code.name, method)
    )


def rejected(serving: Serving, reason: str) -> float:
    """Returns how many calls were refused for ``reason``."""
    return serving.server._metrics.registry.get_sample_value("nextchar_rejected_total", {"reason": reason}) or 0


async def until(condition: Callable[[], bool]) -> None:
    """Waits until ``condition`` holds; fails after 20 seconds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def sent(serving: Serving, method: str, *messages: bytes, **options: Any) -> grpc.aio.AioRpcError:
    """Sends raw ``messages`` and nothing more. Returns the error with which the call ends."""
    call: Any = serving.channel.stream_stream(method)(**options)
    for message in messages:
        await call.write(message)
    await call.done_writing()
    async with asyncio.timeout(60):
        return await failure(call)


async def read_on(call: Any) -> None:
    """Reads the events of ``call`` until it is cancelled."""
    with suppress(asyncio.CancelledError):
        async for _ in call:
            pass


@pytest.mark.parametrize("message", [BROKEN, NOT_UTF_8], ids=["broken", "not UTF-8"])
async def test_a_message_that_cannot_be_parsed_is_an_invalid_argument(serving: Serving, message: bytes) -> None:
    methods = METHODS.keys() - {"ListModels"}  # whose request has no fields
    for method in methods:
        error = await sent(serving, METHODS[method], message)
        assert error.code() is Status.INVALID_ARGUMENT
        assert str(error.details()).startswith("the message is not a valid ")
        assert ("UTF-8" in str(error.details())) == (message is NOT_UTF_8)
        assert dict(error.trailing_metadata())["request-id"]
    await until(lambda: all(counted(serving, Status.INVALID_ARGUMENT, method) == 1 for method in methods))
    assert rejected(serving, "malformed_message") == len(methods)


async def test_a_call_that_ends_without_a_message_is_refused(serving: Serving) -> None:
    methods = METHODS.keys() - {"ServerReflectionInfo"}  # which may have any number of them
    for method in methods:
        error = await sent(serving, METHODS[method])
        assert error.code() is Status.INVALID_ARGUMENT
        assert error.details() == "the call ended without a request message"
        assert dict(error.trailing_metadata())["request-id"]
    await until(lambda: all(counted(serving, Status.INVALID_ARGUMENT, method) == 1 for method in methods))
    assert rejected(serving, "no_message") == len(methods)


async def test_a_call_waits_for_its_message_for_a_bounded_time(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, message_timeout=0.01) as serving:
        for method in METHODS.values():
            async with asyncio.timeout(60):
                error = await failure(serving.channel.stream_stream(method)())
            assert error.code() is Status.INVALID_ARGUMENT
            assert error.details() == "no request message came within 0.01 s"
        await until(lambda: rejected(serving, "no_message") == len(METHODS))


async def test_refused_calls_leave_one_line_each_and_no_traceback(serving: Serving, lines: list[Any]) -> None:
    await sent(serving, METHODS["Generate"], BROKEN)
    await sent(serving, METHODS["Generate"])
    await sent(serving, SERVICE + "Nothing")
    assert [(line["event"], line["code"]) for line in lines] == [
        ("call", "INVALID_ARGUMENT"),
        ("call", "INVALID_ARGUMENT"),
        ("call", "UNIMPLEMENTED"),
    ]


async def test_many_refused_calls_leave_a_bounded_number_of_lines(
    serving: Serving, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptor, "LINES", 2)
    began = int(time.monotonic())
    await asyncio.gather(*[sent(serving, METHODS["Generate"], BROKEN) for _ in range(50)])
    seconds = int(time.monotonic()) - began + 1
    assert len(lines) <= 2 * seconds
    assert rejected(serving, "malformed_message") == 50


async def test_a_method_that_the_server_does_not_have_is_refused_and_counted(serving: Serving) -> None:
    methods = [SERVICE + "Nothing", "/no.Such/Thing", "/" + "x" * 2000 + "/y", "/", "nothing"]
    for method in methods:
        error = await sent(serving, method)
        assert error.code() is Status.UNIMPLEMENTED
        assert error.details() == "this server has no such method"
        assert dict(error.trailing_metadata())["request-id"]
    await until(lambda: counted(serving, Status.UNIMPLEMENTED, "unknown") == len(methods))
    assert rejected(serving, "unknown_method") == len(methods)


async def test_a_method_whose_name_is_not_utf_8_does_not_end_the_server(serving: Serving) -> None:
    connection = await Connection.open(serving.grpc_port, window=2**16)
    reading = asyncio.create_task(connection.serve())
    for _ in range(3):
        connection.call("/\udcff\udcfe/x", b"")
        await connection.ended()
    connection.close()
    await reading
    await until(lambda: rejected(serving, "unknown_method") == 3)
    assert len(await serving.text("the", max_characters=5)) == 5


async def test_a_header_field_that_is_not_utf_8_is_not_quoted_in_the_log(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await Connection.open(serving.grpc_port, window=2**16)
    reading = asyncio.create_task(connection.serve())
    connection.call(METHODS["Check"], b"", more={"x-secret": "\udcff\udcfe"})
    await connection.ended()
    connection.close()
    await reading
    await until(lambda: counted(serving, Status.OK, "Check") == 1)
    assert not caplog.records


async def test_a_message_above_the_limit_is_refused_and_counted(serving: Serving) -> None:
    error = await sent(serving, METHODS["Generate"], bytes(2**20 + 1))
    assert error.code() is Status.RESOURCE_EXHAUSTED
    assert "larger than max" in str(error.details())
    await until(lambda: counted(serving, Status.RESOURCE_EXHAUSTED, "Generate") == 1)
    assert rejected(serving, "unreadable_message") == 1


async def test_a_compressed_message_is_refused_before_it_is_unpacked(serving: Serving) -> None:
    call: Any = serving.channel.unary_unary(METHODS["Generate"])
    error = await failure(call(bytes(2**22), compression=grpc.Compression.Gzip))
    assert error.code() is Status.UNIMPLEMENTED
    assert error.details() == "Compression algorithm 'gzip' is disabled."
    await until(lambda: counted(serving, Status.CANCELLED, "Generate") == 1)


async def test_calls_that_are_over_before_they_are_seen_leave_no_traceback(
    serving: Serving, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    connection = await Connection.open(serving.grpc_port, window=2**16)
    reading = asyncio.create_task(connection.serve())
    damaged = gzip.compress(bytes(2**20))[:100]
    for _ in range(20):
        connection.call(METHODS["Generate"], damaged, more={"grpc-encoding": "gzip"})
        await connection.ended()
        connection.reset(connection.call(METHODS["Generate"], b""))
    connection.close()
    await reading
    assert len(await serving.text("the", max_characters=5)) == 5
    assert not caplog.records
    assert "Traceback" not in capfd.readouterr().err


async def test_a_large_message_of_many_fields_is_refused_before_it_is_parsed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(incoming, "_parsed")
    stops = b"\x3a\x00" * 100_000
    message = b"\x22" + struct.pack("<BBB", len(stops) & 127 | 128, len(stops) >> 7 & 127 | 128, len(stops) >> 14)
    error = await sent(serving, METHODS["Generate"], message + stops)
    assert error.code() is Status.INVALID_ARGUMENT
    assert str(error.details()).startswith("parameters.stop_sequences: more than ")


async def test_messages_to_the_services_beside_are_small(serving: Serving) -> None:
    for method in ("Check", "Watch", "ServerReflectionInfo"):
        error = await sent(serving, METHODS[method], b"\x0a\x80\x80\x01" + b"a" * 2**14)
        assert error.code() is Status.INVALID_ARGUMENT
        assert "it has 16388 bytes, more than 16384" in str(error.details())


async def test_what_a_refusal_tells_fits_into_the_trailers(serving: Serving) -> None:
    long = "\U0001f3ad" * 250_000
    for request in (
        pb.GenerateRequest(model=long),
        pb.GenerateRequest(prompt=long),
        pb.GenerateRequest(parameters=pb.GenerationParameters(stop_sequences=[long])),
        pb.GenerateRequest(parameters=pb.GenerationParameters(character_bias={long: 1.0})),
        pb.GenerateRequest(
            parameters=pb.GenerationParameters(
                replacement_character=long, unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE
            )
        ),
    ):
        error = await failure(serving.stub.Generate(request))
        assert error.code() in (Status.INVALID_ARGUMENT, Status.NOT_FOUND)
        assert sum(len(key) + len(value) for key, value in error.trailing_metadata()) < 2048


async def test_a_health_method_that_is_not_served_is_unimplemented(serving: Serving, lines: list[Any]) -> None:
    error = await sent(serving, "/grpc.health.v1.Health/List", b"")
    assert error.code() is Status.UNIMPLEMENTED
    await until(lambda: counted(serving, Status.UNIMPLEMENTED, "List") == 1)
    assert {line["event"] for line in lines} == {"call"}


async def test_a_deadline_that_passes_in_the_queue_is_counted_as_such(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, max_characters=2**31) as serving:
        running = serving.stream("the", max_characters=2**31)
        await anext(aiter(running))
        reading = asyncio.create_task(read_on(running))  # a text that nobody reads would leave its place to others
        for _ in range(5):
            error = await failure(serving.stub.GenerateStream(pb.GenerateStreamRequest(), timeout=0.1))
            assert error.code() is Status.DEADLINE_EXCEEDED
        await until(lambda: counted(serving, Status.DEADLINE_EXCEEDED, "GenerateStream") == 5)
        assert counted(serving, Status.CANCELLED, "GenerateStream") == 0
        running.cancel()
        await reading


async def test_a_caller_that_leaves_early_is_counted_as_cancelled(serving: Serving) -> None:
    call = serving.stub.GenerateStream(
        pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=5000)), timeout=60
    )
    await anext(aiter(call))
    call.cancel()
    await until(lambda: counted(serving, Status.CANCELLED, "GenerateStream") == 1)


async def test_reflection_answers_and_is_counted(serving: Serving) -> None:
    call: Any = serving.channel.stream_stream(METHODS["ServerReflectionInfo"])()
    for _ in range(2):
        await call.write(b"\x3a\x00")  # list_services
        assert b"nextchar.v1.GenerationService" in await call.read()
    await call.done_writing()
    assert await call.code() is Status.OK
    await until(lambda: counted(serving, Status.OK, "ServerReflectionInfo") == 1)


async def test_no_call_of_a_burst_is_lost(serving: Serving) -> None:
    answers = await asyncio.gather(*[serving.stub.GetModel(pb.GetModelRequest()) for _ in range(3000)])
    assert {answer.model.name for answer in answers} == {"int8"}
