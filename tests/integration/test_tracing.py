"""The trace of a call: taken from its metadata into the lines that it leaves in the log."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from nextchar.v1 import generation_pb2 as pb
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
MALFORMED = [
    "",
    "nonsense",
    f"ff-{TRACE}-{PARENT}-01",
    f"00-{TRACE}-{PARENT}-01-more",
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE[:-1]}-{PARENT}-01",
    f"{GOOD}x",
]


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


async def line(serving: Serving, *metadata: tuple[str, str | bytes]) -> dict[str, Any]:
    """Makes a call with ``metadata``, and returns its line in the log."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        await serving.stub.ListModels(pb.ListModelsRequest(), metadata=metadata)
        await until(lambda: any(line["event"] == "call" for line in lines))
    (call,) = [line for line in lines if line["event"] == "call"]
    assert call["request_id"]
    return dict(call)


async def test_the_identifier_of_a_trace_is_in_the_line_of_its_call(serving: Serving) -> None:
    assert (await line(serving, ("traceparent", GOOD)))["trace_id"] == TRACE


async def test_a_later_version_may_have_more_parts(serving: Serving) -> None:
    assert (await line(serving, ("traceparent", f"01-{TRACE}-{PARENT}-01-more")))["trace_id"] == TRACE


async def test_so_it_is_in_the_line_of_a_call_of_an_unknown_method(serving: Serving) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        method: Any = serving.channel.unary_unary("/no/method")
        await failure(method(b"", metadata=(("traceparent", GOOD),)))
        await until(lambda: any(line["event"] == "call" for line in lines))
    assert [line["trace_id"] for line in lines if line["event"] == "call"] == [TRACE]


async def test_a_malformed_one_is_ignored(serving: Serving) -> None:
    for value in MALFORMED:
        assert "trace_id" not in await line(serving, ("traceparent", value)), value


async def test_a_call_does_not_inherit_the_trace_of_the_one_before_it(serving: Serving) -> None:
    await line(serving, ("traceparent", GOOD))
    assert "trace_id" not in await line(serving)
