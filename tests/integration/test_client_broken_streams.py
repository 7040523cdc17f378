"""Texts whose stream or connection breaks in the ways of HTTP/2: ``AsyncClient`` continues them."""

from collections.abc import Sequence

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Delta, Event, Finished, InternalError, NextcharError
from tests.support.http2_server import (
    CLOSE,
    READ,
    Http2Server,
    Step,
    begin,
    data,
    end,
    go_away,
    message,
    page,
    reset,
)
from tests.support.scripted_server import STARTED, WHOLE, delta

pytestmark = pytest.mark.usefixtures("short_pauses")

WHOLE_SCRIPT = [begin, *map(message, WHOLE), end(grpc_status="0", request_id="r2")]
HALF = [begin, message(STARTED), message(delta("한글"))]
OWN = end(grpc_status="13", grpc_message="internal error", request_id="r1")

# The error codes of RFC 9113, but not 13: grpcio 1.85 ends the process of a client that gets it in a GOAWAY.
RESETS = {f"reset {code}": [reset(code)] for code in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11)}
BREAKS: dict[str, Sequence[Step]] = RESETS | {
    "the connection closes": [CLOSE],
    "the connection closes within a message": [data(b"\0\0\0\0\7\1\2"), CLOSE],
    "the stream ends within a message": [data(b"\0\0\0\0\7\1\2", 1)],
    "GOAWAY, and the call was not taken": [go_away(0, takes=False)],
    "GOAWAY, and the connection closes": [go_away(11, takes=True), CLOSE],
    "no status": [end(via="1.1 proxy")],
    "a status of a proxy": [end(grpc_status="2", grpc_message="upstream connect error")],
    "a frame that is too large": [lambda _: b"\xff\xff\xff\0\0\0\0\0\1"],
    "another protocol": [lambda _: b"HTTP/1.1 502 Bad Gateway\r\n\r\n", CLOSE],
    "header fields that can't be unpacked": [lambda stream: bytes([0, 0, 2, 1, 5]) + stream.to_bytes(4) + b"\xff\xff"],
}


async def read(server: Http2Server, until: type[Event] = Delta) -> str:
    """The text that the client reads; the server learns when an event of the type ``until`` has come."""
    events: list[Event] = []
    async with AsyncClient(server.endpoint) as client:
        async for event in client.stream("ROMEO:"):
            events.append(event)
            if isinstance(event, until):
                server.has_read()
    assert [isinstance(event, Finished) for event in events] == [False] * (len(events) - 1) + [True]
    return "".join(event.text for event in events if isinstance(event, Delta))


@pytest.mark.parametrize("steps", BREAKS.values(), ids=BREAKS)
async def test_a_text_that_breaks_half_way_is_continued(steps: Sequence[Step]) -> None:
    async with Http2Server([*HALF, READ, *steps], WHOLE_SCRIPT) as server:
        assert await read(server) == "한글\nwords"
        assert server.calls == 2


@pytest.mark.parametrize("steps", [*BREAKS.values(), [page("502")]], ids=[*BREAKS, "a page"])
async def test_a_text_that_breaks_before_it_begins_is_asked_for_again(steps: Sequence[Step]) -> None:
    async with Http2Server(steps, WHOLE_SCRIPT) as server:
        assert await read(server) == "한글\nwords"
        assert server.calls >= 2  # gRPC itself repeats a call that a server has not seen


@pytest.mark.parametrize("steps", [*BREAKS.values(), [OWN]], ids=[*BREAKS, "an error of the server"])
async def test_a_text_that_breaks_after_its_last_event_is_whole(steps: Sequence[Step]) -> None:
    async with Http2Server([*WHOLE_SCRIPT[:-1], READ, *steps], WHOLE_SCRIPT) as server:
        assert await read(server, until=Finished) == "한글\nwords"
        assert server.calls == 1


@pytest.mark.parametrize("steps", [[*HALF, READ, reset(2)], [reset(2)]], ids=["half-way", "before it begins"])
async def test_a_text_that_breaks_for_ever_ends_as_an_error(steps: Sequence[Step]) -> None:
    async with Http2Server(steps) as server:
        with pytest.raises(NextcharError):
            await read(server)
        assert server.calls in (5, 10)


@pytest.mark.parametrize("steps", [[*HALF, READ, OWN], [begin, OWN]], ids=["half-way", "before it begins"])
async def test_an_error_of_the_server_itself_is_not_repeated(steps: Sequence[Step]) -> None:
    async with Http2Server(steps, WHOLE_SCRIPT) as server:
        with pytest.raises(InternalError) as caught:
            await read(server)
        assert (server.calls, caught.value.request_id) == (1, "r1")


async def test_a_score_whose_stream_is_reset_is_asked_for_again() -> None:
    scored = pb.ScoreResponse(text="a", character_logprobs=pb.CharacterLogprobs(logprobs=[-1.0]))
    async with (
        Http2Server([reset(2)], [begin, message(scored), end(grpc_status="0")]) as server,
        AsyncClient(server.endpoint) as client,
    ):
        assert len((await client.score("a")).characters) == 1
