"""The client's scores of streams and of candidates, against a real server that plays scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AsyncClient,
    CandidateScore,
    CharacterLogprob,
    Client,
    IncompleteStreamError,
    InternalError,
    InvalidArgumentError,
    ScoredPart,
    ScoredText,
    ScoreStarted,
)
from nextchar_client.score_conversion import _PART
from tests.support.scripted_server import Abort, ScriptedServer, Status

STARTED = pb.ScoreStreamResponse(started=pb.ScoreStarted(request_id="r1", model="tiny", model_digest="00ff"))


def part(text: str) -> pb.ScoreStreamResponse:
    columns = pb.CharacterLogprobs(logprobs=[-0.5] * len(text))
    return pb.ScoreStreamResponse(part=pb.ScoredPart(text=text, character_logprobs=columns))


def total(characters: int) -> pb.ScoreStreamResponse:
    return pb.ScoreStreamResponse(text=pb.ScoredText(characters=characters, total_logprob=-0.5 * characters))


def places(text: str) -> tuple[CharacterLogprob, ...]:
    return tuple(CharacterLogprob(character, -0.5, ()) for character in text)


async def test_the_parts_and_the_total_of_each_text_come(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, part("ab"), part("c"), total(3), total(0), part("d"), total(1)]]
    events = [event async for event in client.score_stream(["abc", "", "d"])]
    assert events == [
        ScoreStarted("r1", "tiny", "00ff"),
        ScoredPart(0, 0, places("ab")),
        ScoredPart(0, 2, places("c")),
        ScoredText(0, 3, -1.5, 0.0),
        ScoredText(1, 0, 0.0, 0.0),
        ScoredPart(2, 0, places("d")),
        ScoredText(2, 1, -0.5, 0.0),
    ]


async def test_settings_are_in_the_first_message_and_long_texts_are_cut(
    client: AsyncClient, server: ScriptedServer
) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "x"
        yield "yz"

    server.scripts = [[STARTED, total(_PART + 1), total(3)]]
    long = "a" * (_PART + 1)
    options = {"model": "tiny", "details": True, "totals_only": True, "unknown_characters": "skip"}
    events = [event async for event in client.score_stream([long, parts()], **options)]  # type: ignore[arg-type]
    assert len(events) == 3
    (messages,) = server.requests
    settings = pb.ScoreSettings(
        model="tiny", details=True, totals_only=True, unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP
    )
    assert messages[0] == pb.ScoreStreamRequest(settings=settings, text=long[:_PART])
    assert messages[1:] == [
        pb.ScoreStreamRequest(text="a", is_end=True),
        pb.ScoreStreamRequest(text="x"),
        pb.ScoreStreamRequest(text="yz"),
        pb.ScoreStreamRequest(is_end=True),
    ]


async def test_a_stream_that_is_refused_is_sent_again_whole(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.UNAVAILABLE)], [STARTED, part("ab"), total(2)]]
    events = [event async for event in client.score_stream(iter(["ab"]))]
    assert events[-1] == ScoredText(0, 2, -1.0, 0.0)
    assert server.requests[0] == server.requests[1]


async def test_a_stream_that_is_cut_says_how_much_was_scored(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, part("ab"), total(2), part("c"), Abort(Status.INTERNAL, "lost")]]
    with pytest.raises(InternalError, match=r"lost \(after 3 characters and 1 whole texts were scored\)"):
        [event async for event in client.score_stream(["ab", "cd"])]


@pytest.mark.parametrize(
    "script",
    [
        [STARTED, part("ab")],
        [STARTED, part("a"), total(2)],
        [STARTED, STARTED],
        [part("ab"), total(2)],
        [STARTED, total(0), total(0)],
    ],
    ids=["no total", "a missing character", "two beginnings", "no beginning", "a text too many"],
)
async def test_scores_that_make_no_whole_text_raise(
    client: AsyncClient, server: ScriptedServer, script: list[pb.ScoreStreamResponse]
) -> None:
    server.scripts = [script]
    with pytest.raises(IncompleteStreamError):
        [event async for event in client.score_stream(["ab"])]


async def test_a_failure_of_the_callers_texts_is_raised_and_ends_the_call(
    client: AsyncClient, server: ScriptedServer
) -> None:
    def texts() -> Iterator[str]:
        yield "ab"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        [event async for event in client.score_stream(texts())]


async def test_half_a_surrogate_pair_is_refused(client: AsyncClient, server: ScriptedServer) -> None:
    with pytest.raises(InvalidArgumentError, match=r"text: U\+D800 at offset 1"):
        [event async for event in client.score_stream(["a\ud800"])]


async def test_no_text_is_refused_by_name(client: AsyncClient, server: ScriptedServer) -> None:
    with pytest.raises(InvalidArgumentError, match="texts: there is none to score"):
        [event async for event in client.score_stream([])]


def test_the_blocking_client_takes_texts_from_any_iterable(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, part("ab"), total(2), total(0)]]
    with Client(server.endpoint) as client:
        events = list(client.score_stream(text for text in (iter(["a", "b"]), "")))
    assert events[1:] == [ScoredPart(0, 0, places("ab")), ScoredText(0, 2, -1.0, 0.0), ScoredText(1, 0, 0.0, 0.0)]
    assert "".join(message.text for message in server.requests[0]) == "ab"


def test_the_blocking_client_raises_a_failure_of_the_texts(server: ScriptedServer) -> None:
    def parts() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    with Client(server.endpoint) as client, pytest.raises(OSError, match="the disk is gone"):
        list(client.score_stream([parts()]))


async def test_rescore_returns_a_score_for_each_candidate(client: AsyncClient, server: ScriptedServer) -> None:
    columns = pb.CharacterLogprobs(logprobs=[-1.0])
    server.scripts = [
        [
            pb.RescoreResponse(
                request_id="r1",
                scores=[
                    pb.CandidateScore(total_logprob=-1, bits_per_character=1.44, text="a", character_logprobs=columns),
                    pb.CandidateScore(total_logprob=-1, bits_per_character=1.44, text="b", character_logprobs=columns),
                ],
            )
        ]
    ]
    answer = await client.rescore("the ", ["a", "b"], top_logprobs=0)
    assert answer.scores[1] == CandidateScore("b", (CharacterLogprob("b", -1.0, ()),), -1.0, 1.44)
    assert server.requests == [pb.RescoreRequest(prefix="the ", candidates=["a", "b"], top_logprobs=0)]


async def test_rescore_needs_a_score_for_each_candidate(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[pb.RescoreResponse(scores=[pb.CandidateScore()])]]
    with pytest.raises(IncompleteStreamError, match="1 scores for 2 candidates"):
        await client.rescore("", ["a", "b"])


async def test_details_are_a_rank_and_an_entropy(client: AsyncClient, server: ScriptedServer) -> None:
    columns = pb.CharacterLogprobs(logprobs=[-0.5], ranks=[2], entropies=[1.5])
    server.scripts = [[pb.ScoreResponse(text="a", character_logprobs=columns)]]
    score = await client.score("a", details=True)
    assert score.characters == (CharacterLogprob("a", -0.5, (), 2, 1.5),)
    assert server.requests[0].details
