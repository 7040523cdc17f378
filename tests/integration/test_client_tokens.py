"""Resume tokens in ``AsyncClient`` and the command, with servers that play scripts."""

from collections.abc import Sequence
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AsyncClient,
    Delta,
    DivergedError,
    Event,
    Finished,
    FinishReason,
    InvalidArgumentError,
    Resumed,
    Usage,
)
from tests.support.command import Run
from tests.support.scripted_server import STARTED, Abort, ScriptedServer, Status, delta

pytestmark = pytest.mark.usefixtures("short_pauses")

GONE = Abort(Status.UNAVAILABLE, "Socket closed")


def marked(text: str, offset: int, token: bytes) -> pb.GenerateStreamResponse:
    """A delta with a resume token."""
    return pb.GenerateStreamResponse(delta=pb.Delta(text=text, offset=offset, resume_token=token))


def finished(
    generated: int, *, prompt: int = 0, token: bytes = b"", drained: bool = False
) -> pb.GenerateStreamResponse:
    reason = pb.FINISH_REASON_DRAINING if drained else pb.FINISH_REASON_MAX_CHARACTERS
    usage = pb.Usage(prompt_characters=prompt, generated_characters=generated)
    return pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=reason, usage=usage, resume_token=token))


async def told(client: AsyncClient, *prompt: str, **options: Any) -> list[Event]:
    return [event async for event in client.stream(*prompt, **options)]


def text(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def test_events_have_their_tokens(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, marked("a", 0, b"\x01"), delta("b", 1), finished(2, token=b"\x02")]]
    tokens = [event.resume_token for event in await told(client) if isinstance(event, Delta | Finished)]
    assert tokens == [b"\x01", b"", b"\x02"]


async def test_a_text_starts_from_a_token(client: AsyncClient, server: ScriptedServer) -> None:
    await told(client, resume_token=b"token", resume_interval=0)
    parameters = pb.GenerationParameters(resume_interval=0)
    assert server.requests == [pb.GenerateStreamRequest(resume_token=b"token", parameters=parameters)]


@pytest.mark.parametrize("prompt", ["ROMEO:", ""])
async def test_a_token_needs_to_be_one_and_to_stand_alone(client: AsyncClient, prompt: str) -> None:
    with pytest.raises(InvalidArgumentError, match="prompt, resume_token: give one" if prompt else "it is empty"):
        await told(client, prompt, resume_token=b"token" if prompt else b"")


@pytest.mark.parametrize("echo", [False, True])
async def test_a_cut_text_continues_from_its_last_token(
    client: AsyncClient, server: ScriptedServer, echo: bool
) -> None:
    echoed = 5 * echo
    server.scripts = [
        [
            STARTED,
            *[delta("Romeo")] * echo,
            marked("ab", echoed, b"1"),
            marked("cd", echoed + 2, b"2"),
            delta("e", echoed + 4),
            GONE,
        ],
        [STARTED, delta("ef", 0), delta("gh", 2), finished(4)],
    ]
    events = await told(
        client, "Romeo", max_characters=8, temperature=0.5, stop="!", seed=7, echo=echo,
        unknown_characters="error", with_resumed=True,
    )  # fmt: skip
    assert text(events) == "Romeo" * echo + "abcdefgh"
    assert [event.offset - echoed for event in events if isinstance(event, Delta)][-2:] == [5, 6]
    assert Resumed("request-1", echoed + 5, 1) in events
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == Usage(5, 8)
    parameters = pb.GenerationParameters(max_characters=4, temperature=0.5, stop_sequences=["!"])
    assert server.requests[1] == pb.GenerateStreamRequest(resume_token=b"2", parameters=parameters)


async def test_a_drained_text_continues_from_the_token_of_its_end(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [
        [STARTED, delta("half"), finished(6, prompt=5, token=b"1", drained=True)],  # two of them held back
        [STARTED, delta("way", 0), finished(3)],
    ]
    events = await told(client, "Romeo", max_characters=7)
    assert (text(events), events[-1]) == ("halfway", Finished(FinishReason.MAX_CHARACTERS, "", Usage(5, 7)))
    assert (server.requests[1].resume_token, server.requests[1].parameters.max_characters) == (b"1", 3)


@pytest.mark.parametrize("refusal", [Status.INVALID_ARGUMENT, Status.FAILED_PRECONDITION, Status.UNIMPLEMENTED])
async def test_a_token_that_another_server_refuses_is_done_without(
    client: AsyncClient, server: ScriptedServer, refusal: Status
) -> None:
    server.scripts = [
        [STARTED, marked("half", 0, b"1"), GONE],
        [Abort(refusal, "resume_token: signed with another key")],
        [STARTED, delta("halfway"), finished(7, prompt=5)],
    ]
    events = await told(client, "Romeo")
    assert text(events) == "halfway"
    assert [request.WhichOneof("start") for request in server.requests] == ["prompt", "resume_token", "prompt"]


async def test_a_token_that_leaves_nothing_to_generate_is_not_used(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [
        [STARTED, marked("ab", 0, b"1"), marked("cd", 2, b"2"), GONE],
        [STARTED, delta("cd"), finished(2)],
    ]
    assert text(await told(client, max_characters=4)) == "abcd"
    assert server.requests[1].resume_token == b"1"


async def test_other_text_after_a_token_is_never_joined(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, marked("ha", 0, b"1"), delta("lf", 2), GONE], [STARTED, delta("lt"), finished(2)]]
    with pytest.raises(DivergedError, match="'t' at character 3 in place of 'f'"):
        await told(client)


async def test_a_request_that_skips_characters_is_repeated_from_its_start(
    client: AsyncClient, server: ScriptedServer
) -> None:
    server.scripts = [[STARTED, marked("half", 0, b"1"), GONE], [STARTED, delta("halfway"), finished(7)]]
    assert text(await told(client, "Romeo", unknown_characters="skip")) == "halfway"
    assert server.requests[1].prompt == "Romeo"


async def test_a_reader_that_was_ended_for_being_late_continues_from_its_token(
    client: AsyncClient, server: ScriptedServer
) -> None:
    trailers = ("resume-token-bin", b"1"), ("resume-offset", "3")
    late = Abort(Status.RESOURCE_EXHAUSTED, "the reader took nothing", trailers)
    server.scripts = [[STARTED, delta("half"), late], [STARTED, delta("fway"), finished(4)]]
    assert text(await told(client)) == "halfway"
    assert server.requests[1].resume_token == b"1"


async def test_a_token_of_text_that_did_not_come_is_not_used(client: AsyncClient, server: ScriptedServer) -> None:
    trailers = ("resume-token-bin", b"1"), ("resume-offset", "5")
    late = Abort(Status.RESOURCE_EXHAUSTED, "the reader took nothing", trailers)
    server.scripts = [[STARTED, delta("half"), late], [STARTED, delta("halfway"), finished(7)]]
    assert text(await told(client)) == "halfway"
    assert server.requests[1].resume_token == b""


async def test_a_text_that_starts_from_a_token_is_continued_without_a_seed(
    client: AsyncClient, server: ScriptedServer
) -> None:
    server.scripts = [[STARTED, delta("half"), GONE], [STARTED, delta("halfway"), finished(7)]]
    assert text(await told(client, resume_token=b"token")) == "halfway"
    assert server.requests[0] == server.requests[1]


def test_the_command_prints_and_takes_tokens_in_base64(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[STARTED, delta("a"), finished(1, token=b"\xff\xfe")]]
    _, output, _ = run("generate", "--json")
    assert '"resume_token": "//4="' in output.splitlines()[-1]
    run("generate", "--resume-token", "//4=")
    assert server.requests[1].resume_token == b"\xff\xfe"


def test_the_command_refuses_a_token_that_is_not_base64(server: ScriptedServer, run: Run) -> None:
    code, _, errors = run("generate", "--resume-token", "a" * 1001)
    assert (code, server.requests) == (2, [])
    assert "--resume-token: 'aaaaaaaaaaaaaaaaaaaa' is invalid; it must be a resume token as --json prints it" in errors


@pytest.mark.parametrize(("least", "left"), [(5, 3), (2, 0), (1, 0)])
async def test_a_continuation_has_fewer_min_characters_by_those_that_came(
    client: AsyncClient, server: ScriptedServer, least: int, left: int
) -> None:
    server.scripts = [[STARTED, marked("ab", 0, b"1"), GONE], [STARTED, delta("cde"), finished(3)]]
    await told(client, max_characters=8, min_characters=least, resume_interval=1)
    parameters = server.requests[1].parameters
    assert (parameters.min_characters, parameters.max_characters) == (left, 6)
