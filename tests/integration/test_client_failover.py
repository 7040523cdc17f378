"""Texts that are cut half-way and continued, by ``AsyncClient`` and the command, with servers that play scripts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AsyncClient,
    CallCancelledError,
    DeadlineExceededError,
    Delta,
    DivergedError,
    Event,
    Finished,
    FinishReason,
    InternalError,
    Resumed,
    Started,
    UnavailableError,
    Usage,
)
from tests.support.command import Run
from tests.support.scripted_server import FINISHED, HANG, STARTED, WHOLE, Abort, ScriptedServer, Status, delta

pytestmark = pytest.mark.usefixtures("short_pauses")

GONE = Abort(Status.UNAVAILABLE, "Socket closed")
WHOLE_TEXT = "한글\nwords"
CUT = [[STARTED, delta("한글"), step] for step in (GONE, Abort(Status.CANCELLED))]
DRAINED = pb.GenerateStreamResponse(
    finished=pb.Finished(
        finish_reason=pb.FINISH_REASON_DRAINING, usage=pb.Usage(prompt_characters=6, generated_characters=2)
    )
)


def started(**fields: Any) -> pb.GenerateStreamResponse:
    """``STARTED`` with other ``fields``."""
    message = pb.GenerateStreamResponse()
    message.CopyFrom(STARTED)
    message.MergeFrom(pb.GenerateStreamResponse(started=pb.Started(**fields)))
    return message


def with_logprobs(text: str, offset: int, *logprobs: float) -> pb.GenerateStreamResponse:
    columns = pb.CharacterLogprobs(logprobs=logprobs)
    return pb.GenerateStreamResponse(delta=pb.Delta(text=text, offset=offset, character_logprobs=columns))


async def told(client: AsyncClient, *prompt: str, **options: Any) -> list[Event]:
    return [event async for event in client.stream(*prompt, **options)]


async def read_on(events: AsyncIterator[Event], read: list[Event]) -> None:
    """Reads ``events`` into ``read``, where they stay if an error follows."""
    async for event in events:
        read.append(event)  # noqa: PERF401 - a comprehension would lose them


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@pytest.mark.parametrize("script", [*CUT, [STARTED, delta("한글"), DRAINED], [STARTED, GONE]])
async def test_a_cut_text_is_generated_again_with_its_seed_and_version_and_only_the_rest_is_told(
    client: AsyncClient, server: ScriptedServer, script: Sequence[Any]
) -> None:
    server.scripts = [script, WHOLE]
    events = await told(client, "ROMEO:", temperature=0.5)
    assert [type(event) for event in (events[0], events[-1])] == [Started, Finished]
    assert text(events) == WHOLE_TEXT
    assert [event.offset for event in events if isinstance(event, Delta)] in ([0, 2, 3], [0, 3])
    first, second = server.requests
    first.parameters.seed, first.model = 2**64 - 1, "tiny@0123456789abcdef"
    assert second == first


async def test_a_server_without_the_version_of_a_cut_text_is_asked_for_the_model_by_its_name(
    client: AsyncClient, server: ScriptedServer
) -> None:
    server.scripts = [CUT[0], [Abort(Status.NOT_FOUND)], WHOLE]
    assert text(await told(client, model="tiny")) == WHOLE_TEXT
    assert [request.model for request in server.requests] == ["tiny", "tiny@0123456789abcdef", "tiny"]


async def test_a_text_whose_version_no_server_has_is_not_continued(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [CUT[0], [Abort(Status.NOT_FOUND)]]
    with pytest.raises(DivergedError, match="after 2 characters, and no server has tiny@0123456789ab"):
        await told(client)


async def test_a_cut_text_continues_on_another_server(server: ScriptedServer) -> None:
    with ScriptedServer() as other:
        server.scripts = [CUT[0]]
        async with AsyncClient([server.endpoint, other.endpoint]) as client:
            while not server.requests:  # the first turn is drawn
                assert text(await told(client)) == WHOLE_TEXT
        assert other.requests[-1].parameters.seed == 2**64 - 1


async def test_resumed_is_told_only_to_callers_that_ask(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [CUT[0], [started(request_id="request-2"), *WHOLE[1:]]]
    events = await told(client, with_resumed=True)
    assert events[2:4] == [Resumed("request-2", 2, 2), Delta("\n", 2, ())]


async def test_a_text_is_cut_as_often_as_it_grows(client: AsyncClient, server: ScriptedServer) -> None:
    whole = "character by character"
    server.scripts = [
        *([STARTED, delta(whole[: n + 1]), GONE] for n in range(len(whole))),
        [STARTED, delta(whole), FINISHED],
    ]
    assert text(await told(client)) == whole


async def test_a_text_that_does_not_grow_has_ten_tries(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("half"), GONE]]
    events: list[Event] = []
    with pytest.raises(UnavailableError):
        await read_on(client.stream(), events)
    assert (text(events), len(server.requests)) == ("half", 10)


async def test_a_text_that_continues_counts_its_tries_anew(client: AsyncClient, server: ScriptedServer) -> None:
    refusal = [Abort(Status.UNAVAILABLE)]
    server.scripts = [*[refusal] * 4, [STARTED, delta("h"), GONE], *[refusal] * 3, [STARTED, delta("half"), FINISHED]]
    assert text(await told(client)) == "half"


async def test_a_client_that_is_closed_continues_no_text(server: ScriptedServer) -> None:
    server.scripts = [CUT[0], [HANG]]
    async with AsyncClient(server.endpoint) as client:
        events = client.stream()
        assert isinstance(await anext(events), Started)
        assert isinstance(await anext(events), Delta)
        following = asyncio.ensure_future(anext(events))
        await server.received(2)
    with pytest.raises((CallCancelledError, asyncio.CancelledError)):
        await following
    assert len(server.requests) == 2


async def test_the_call_that_continues_a_text_keeps_the_timeout(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [CUT[0], [STARTED, HANG]]
    with pytest.raises(DeadlineExceededError):
        await told(client, timeout=2)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        ([STARTED, delta("half"), delta("ling", 4), FINISHED], "'lin' at character 4 in place of 'way'"),
        ([STARTED, delta("half"), FINISHED], "ends it after 4 characters; 7 had come"),
        ([started(model_digest="ff00"), HANG], "has the model ff00 in place of 0123456789ab"),
        ([started(seed=7), HANG], "has the seed 7 in place of 18446744073709551615"),
    ],
)
async def test_other_text_is_never_joined(
    client: AsyncClient, server: ScriptedServer, second: Sequence[Any], complaint: str
) -> None:
    server.scripts = [[STARTED, delta("halfway"), GONE], second]
    events: list[Event] = []
    with pytest.raises(DivergedError, match=complaint) as caught:
        await read_on(client.stream(), events)
    assert isinstance(caught.value, InternalError)
    assert text(events) == "halfway"


async def test_servers_of_another_numeric_class_do_not_continue_a_text(
    client: AsyncClient, server: ScriptedServer
) -> None:
    other = [started(numeric_class="b"), HANG]
    server.scripts = [
        [started(numeric_class="a"), delta("한글"), GONE],
        other,
        [started(numeric_class="a"), *WHOLE[1:]],
    ]
    assert text(await told(client)) == WHOLE_TEXT


async def test_other_log_probabilities_are_never_joined(client: AsyncClient, server: ScriptedServer) -> None:
    cut = [STARTED, with_logprobs("ab", 0, -1.0, -2.0), GONE]
    server.scripts = [cut, [STARTED, with_logprobs("abc", 0, -1.0, -2.5, -3.0), FINISHED]]
    with pytest.raises(DivergedError, match="other log-probabilities between characters 0 and 2"):
        await told(client, top_logprobs=0)


async def test_log_probabilities_are_joined_with_their_text(client: AsyncClient, server: ScriptedServer) -> None:
    cut = [STARTED, with_logprobs("ab", 0, -1.0, -2.0), GONE]
    server.scripts = [cut, [STARTED, with_logprobs("abc", 0, -1.0, -2.0, -3.0), FINISHED]]
    events = await told(client, top_logprobs=0)
    places = [place for event in events if isinstance(event, Delta) for place in event.logprobs]
    assert [(place.character, place.logprob) for place in places] == [("a", -1.0), ("b", -2.0), ("c", -3.0)]


async def test_a_text_that_drained_and_that_no_server_continues_ends_as_drained(
    client: AsyncClient, server: ScriptedServer
) -> None:
    server.scripts = [[STARTED, delta("한글"), DRAINED], [Abort(Status.UNAVAILABLE)]]
    events = await told(client)
    assert (text(events), events[-1]) == ("한글", Finished(FinishReason.DRAINING, "", Usage(6, 2)))


async def test_a_whole_answer_that_drained_is_continued(client: AsyncClient, server: ScriptedServer) -> None:
    half = pb.GenerateResponse(started=STARTED.started, text="half", finished=DRAINED.finished)
    whole = pb.GenerateResponse(started=STARTED.started, text="halfway", finished=FINISHED.finished)
    server.scripts = [[half], [Abort(Status.UNAVAILABLE)], [whole]]
    generation = await client.generate("ROMEO:")
    assert (generation.text, generation.finished.finish_reason) == ("halfway", FinishReason.MAX_CHARACTERS)
    assert [request.parameters.HasField("seed") for request in server.requests] == [False, True, True]


def test_the_command_tells_that_another_server_continued_the_text(server: ScriptedServer, run: Run) -> None:
    server.scripts = [CUT[0], WHOLE]
    note = "nextchar: another server continued the text after 2 characters (request request-1)\n"
    assert run("generate") == (0, WHOLE_TEXT, note)
