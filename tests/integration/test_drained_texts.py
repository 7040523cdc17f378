"""Texts that a server which shuts down hands on: nothing of them is lost or repeated."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Kind
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

MOST = 20_000
KEY = "k" * 32


@pytest.fixture(autouse=True)
def common_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers of these tests sign with the same key."""
    monkeypatch.setenv("NEXTCHAR_TOKEN_KEY", KEY)


async def drained(serving: Serving, characters: int, **parameters: Any) -> tuple[str, Any]:
    """Returns the text and the last event of a stream whose server drains once ``characters`` came."""
    text, finished = "", None
    async for event in serving.stream(max_characters=MOST, **parameters):
        text += event.delta.text
        if event.HasField("finished"):
            finished = event.finished
        elif len(text) >= characters:
            serving.engine.drain()
    assert finished is not None
    return text, finished


async def cut(call: Any) -> tuple[str, grpc.aio.AioRpcError]:
    """Returns the rest of the text of ``call``, and the error with which it ends."""
    text = ""
    try:
        async for event in call:
            text += event.delta.text
    except grpc.aio.AioRpcError as error:
        return text, error
    raise AssertionError("the call succeeded")


async def rest(serving: Serving, token: bytes, characters: int, **parameters: Any) -> str:
    """Returns the text after the token."""
    request = pb.GenerateStreamRequest(
        resume_token=token, parameters=pb.GenerationParameters(max_characters=characters, **parameters)
    )
    return "".join([event.delta.text async for event in serving.stub.GenerateStream(request)])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_drained_text_continues_on_another_server(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    path = make_korean_model(kind, tmp_path)
    shared: dict[str, Any] = {"stop_sequences": [KOREAN[:3] + "\n" * 9, " \n" * 9]}
    async with serve(path) as one, serve(path, turn_budget=1e-6) as other:
        for seed in range(8):
            text, finished = await drained(one, 1 + 37 * seed, prompt="서울", seed=seed, **shared)
            if finished.finish_reason != pb.FINISH_REASON_DRAINING:  # its document ended before
                continue
            assert finished.usage.generated_characters == len(text)
            whole = await other.text("서울", seed=seed, max_characters=len(text) + 100, **shared)
            assert text + await rest(other, finished.resume_token, 100, **shared) == whole


async def test_a_drained_text_is_cut_before_what_was_held_back(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, turn_budget=1e-6) as serving:
        undisturbed = await serving.text(seed=1, max_characters=500)
        held = {"stop_sequences": [undisturbed[100:350] + "\n\n\n"]}  # held back for 250 characters, then let go
        text, finished = await drained(serving, 80, seed=1, **held)
        assert finished.finish_reason == pb.FINISH_REASON_DRAINING
        assert text == undisturbed[: len(text)]
        assert finished.usage.generated_characters == len(text)
        assert text + await rest(serving, finished.resume_token, 500 - len(text), **held) == undisturbed


async def test_a_text_that_has_not_begun_has_a_token_too(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=1) as serving:
        running = serving.stream(max_characters=MOST)
        its_events = aiter(running)
        await anext(its_events)
        waiting = serving.stream("the", seed=3, max_characters=MOST)
        while not serving.engine.admission.waiting:
            await anext(its_events)
        serving.engine.drain()
        events = [event async for event in waiting]
        running.cancel()
        assert [event.WhichOneof("event") for event in events] == ["started", "finished"]
        token = events[-1].finished.resume_token
        assert await rest(serving, token, 50) == await serving.text("the", seed=3, max_characters=50)


async def test_a_text_whose_prompt_is_still_echoed_has_no_token(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, turn_budget=1e-6) as serving:
        text, finished = await drained(serving, 1, prompt=tiny.text[:2000], echo=True)
    assert tiny.text[:2000].startswith(text)
    assert finished.finish_reason == pb.FINISH_REASON_DRAINING
    assert not finished.resume_token


async def test_a_reader_that_came_too_late_continues_where_its_text_ended(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=10**6, stall_timeout=1.0) as serving:
        call = serving.stream("the", seed=3, max_characters=10**6)
        await anext(aiter(call))
        await until(lambda: bool(serving.engine._streams))
        await until(lambda: not serving.engine._streams)
        text, error = await cut(call)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers: dict[str, Any] = dict(error.trailing_metadata())
        assert int(trailers["resume-offset"]) == len(text)
        whole = await serving.text("the", seed=3, max_characters=len(text) + 50)
        assert text + await rest(serving, trailers["resume-token-bin"], 50) == whole
