"""Texts that are scored while they come: with the bits of ``Score``, whatever the parts and the load are."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from tests.support.known_callers import value
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel, make_text
from tests.support.waiting import until


@dataclass
class Scored:
    """The scores of one text of a stream."""

    text: str = ""
    logprobs: pb.CharacterLogprobs = field(default_factory=pb.CharacterLogprobs)
    total: pb.ScoredText = field(default_factory=pb.ScoredText)


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def requests(texts: Iterable[list[str]], **settings: Any) -> list[pb.ScoreStreamRequest]:
    """Returns the messages of ``texts``, each of which comes in parts."""
    messages = [pb.ScoreStreamRequest(settings=pb.ScoreSettings(**settings))]
    for parts in texts:
        messages += [pb.ScoreStreamRequest(text=part) for part in parts]
        messages.append(pb.ScoreStreamRequest(is_end=True))
    return messages


async def scores(serving: Serving, texts: Iterable[list[str]], **settings: Any) -> list[Scored]:
    """Returns the scores of ``texts``."""
    call = serving.stub.ScoreStream(iter(requests(texts, **settings)))
    all_, one = [], Scored()
    async for event in call:
        if event.HasField("part"):
            one.text += event.part.text
            columns = event.part.character_logprobs
            one.logprobs.alternatives_per_character = columns.alternatives_per_character
            one.logprobs.logprobs.extend(columns.logprobs)
            one.logprobs.alternatives += columns.alternatives
            one.logprobs.alternative_logprobs.extend(columns.alternative_logprobs)
        elif event.HasField("text"):
            one.total = event.text
            all_.append(one)
            one = Scored()
    return all_


async def refusal(serving: Serving, *messages: pb.ScoreStreamRequest) -> grpc.aio.AioRpcError:
    """Returns the error of a call that sends ``messages`` and leaves its stream open."""
    call = serving.stub.ScoreStream()
    for message in messages:
        await call.write(message)
    return await end(call)


async def end(call: Any) -> grpc.aio.AioRpcError:
    """Reads ``call`` to its end, which is an error."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


async def check(serving: Serving, text: str, scored: Scored, **fields: Any) -> None:
    """Checks that ``scored`` has the bits of the score of the whole text."""
    whole = await serving.stub.Score(pb.ScoreRequest(text=text, **fields))
    assert scored.text == whole.text
    assert scored.logprobs == whole.character_logprobs
    assert (scored.total.total_logprob, scored.total.bits_per_character) == (
        whole.total_logprob,
        whole.bits_per_character,
    )
    assert scored.total.characters == len(whole.text)


@pytest.mark.parametrize(("size", "top_logprobs"), [(7, 0), (333, 3), (5000, 0), (100_000, 2)])
async def test_the_scores_are_those_of_the_whole_text(serving: Serving, size: int, top_logprobs: int) -> None:
    text = make_text(3000)
    (scored,) = await scores(serving, [cut(text, size)], top_logprobs=top_logprobs)
    await check(serving, text, scored, top_logprobs=top_logprobs)


async def test_each_text_begins_a_document(serving: Serving) -> None:
    texts = [make_text(1 + 40 * number, seed=number) for number in range(12)]
    all_ = await scores(serving, [cut(text, 50) for text in texts])
    for text, scored in zip(texts, all_, strict=True):
        await check(serving, text, scored)


async def test_the_scores_are_the_same_beside_other_streams(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=8) as serving:
        others = [asyncio.create_task(serving.text("the", seed=seed, max_characters=6000)) for seed in range(12)]
        text = make_text(2000)
        pieces = random.Random(0)
        parts, rest = [], text
        while rest:
            size = pieces.choice([1, 5, 40, 700])
            parts.append(rest[:size])
            rest = rest[size:]
        (scored,), (again,) = await asyncio.gather(scores(serving, [parts]), scores(serving, [cut(text, 900)]))
        await check(serving, text, scored)
        assert again == scored
        await asyncio.gather(*others)


async def test_totals_alone_are_the_same(serving: Serving) -> None:
    text = make_text(1500)
    (full,) = await scores(serving, [cut(text, 600)])
    (total,) = await scores(serving, [cut(text, 600)], totals_only=True)
    assert (total.text, total.total) == ("", full.total)


async def test_the_last_text_ends_with_the_stream(serving: Serving) -> None:
    call = serving.stub.ScoreStream(iter([pb.ScoreStreamRequest(text="the sun")]))
    events = [event async for event in call]
    assert {event.WhichOneof("event") for event in events[1:-1]} == {"part"}
    assert "".join(event.part.text for event in events) == "the sun"
    assert events[-1].text.characters == 7


async def test_a_stream_without_a_text_has_no_score(serving: Serving) -> None:
    assert await scores(serving, []) == []


async def test_an_empty_text_has_no_characters(serving: Serving) -> None:
    (scored,) = await scores(serving, [[]])
    assert (scored.total.characters, scored.total.bits_per_character) == (0, 0.0)


async def test_the_next_text_is_scored_once_it_comes(serving: Serving) -> None:
    call = serving.stub.ScoreStream()
    await call.write(pb.ScoreStreamRequest(text="the sun", is_end=True))
    first = [await call.read() for _ in range(3)]
    await call.write(pb.ScoreStreamRequest(text="the sun", is_end=True))
    second = [await call.read() for _ in range(2)]
    assert first[1:] == second
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_an_unknown_character_is_named_with_its_offset_in_the_whole_text(serving: Serving) -> None:
    text = make_text(2000)
    error = await refusal(serving, *requests([cut(text + "€", 1000)]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == f"text: character '€' (U+20AC) at offset {len(text)} is not in the model's alphabet"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_logprobs": 21}, "settings.top_logprobs: 21 is not"),
        ({"top_logprobs": 1, "totals_only": True}, "settings.totals_only: doesn't go with"),
        ({"unknown_characters": 7}, "settings.unknown_characters: 7 is not a value"),
    ],
)
async def test_bad_settings_are_refused(serving: Serving, settings: dict[str, Any], message: str) -> None:
    error = await refusal(serving, *requests([], **settings))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith(message)


async def test_settings_in_a_later_message_are_refused(serving: Serving) -> None:
    error = await refusal(serving, *requests([]) * 2)
    assert (error.details() or "").startswith("settings: only the first message")


async def test_an_abandoned_stream_frees_its_place(serving: Serving) -> None:
    call = serving.stub.ScoreStream()
    await call.write(pb.ScoreStreamRequest(text=make_text(500)))
    await call.read()
    assert serving.engine.admission.held == 1
    call.cancel()
    await until(lambda: not serving.engine.admission.held)


async def test_a_caller_that_sends_nothing_loses_its_place(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, stall_timeout=0.5) as serving:
        error = await refusal(serving, pb.ScoreStreamRequest(text="the"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "no request message came within 0.5 s"
        await until(lambda: not serving.engine.admission.held)


async def test_a_caller_that_reads_nothing_loses_its_place(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, stall_timeout=0.5) as serving:
        call = serving.stub.ScoreStream(iter(requests([[make_text(1000)]] * 50, top_logprobs=20)))
        await until(lambda: serving.engine.admission.held == 1)
        await until(lambda: not serving.engine.admission.held)
        await until(lambda: value(serving, "nextchar_rejected_total", reason="stalled") == 1)
        call.cancel()


async def test_an_idle_stream_ends_with_the_drain(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, drain_timeout=0.1) as serving:
        call = serving.stub.ScoreStream()
        await call.write(pb.ScoreStreamRequest(text="the sun"))
        await call.read()
        _, error = await asyncio.gather(serving.server.stop(), end(call))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stream_is_refused_while_no_place_is_free(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=0) as serving:
        stream = serving.stream("the", max_characters=100_000)
        await until(lambda: serving.engine.admission.held == 1)
        error = await refusal(serving, pb.ScoreStreamRequest(text="the"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream.cancel()


@pytest.mark.slow
async def test_a_sender_is_held_back_until_its_text_is_read(serving: Serving) -> None:
    text = make_text(10_000)
    sent = scored = ahead = 0

    async def parts() -> AsyncIterator[pb.ScoreStreamRequest]:
        nonlocal sent
        for part in cut(text, 2000) * 6:
            yield pb.ScoreStreamRequest(text=part)
            sent += len(part)

    async for event in serving.stub.ScoreStream(parts()):
        scored += len(event.part.text)
        ahead = max(ahead, sent - scored)
    assert scored == sent == 6 * len(text)
    assert ahead < len(text) * 3
