"""Completions through a real server: what they are, whatever else it does, and what they cost others."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient
from nextchar_model.alphabet import Kind
from nextchar_server.engine.search import Search
from tests.support.command import Run
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving, details, failure
from tests.support.tiny_model import TinyModel

PROMPT = "the night what? lo"
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"boundary": pb.COMPLETION_BOUNDARY_CHARACTERS, "max_characters": 2},
    {"regex": "[가-힣]+ "},
)


async def complete(serving: Serving, prompt: str = PROMPT, **fields: Any) -> pb.CompleteResponse:
    answer: pb.CompleteResponse = await serving.stub.Complete(pb.CompleteRequest(prompt=prompt, **fields))
    answer.ClearField("request_id")
    return answer


async def test_a_words_probability_is_that_of_its_characters_and_of_all_that_end_it(
    tiny: TinyModel, serve: Serve
) -> None:
    async with serve(tiny.int8) as serving:
        answer = await complete(serving)
        assert answer.is_exact
        assert len(answer.completions) == 5
        ends = [symbol for symbol in tiny.alphabet.symbols if not symbol.isalnum()]
        for one in answer.completions:
            scored = [await serving.stub.Score(pb.ScoreRequest(text=PROMPT + one.text + end)) for end in ends]
            logprobs = [sum(score.character_logprobs.logprobs[len(PROMPT) :]) for score in scored]
            assert one.logprob == pytest.approx(math.log(sum(map(math.exp, logprobs))), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
async def test_completions_are_the_same_whatever_the_server_does_and_knows(
    serve: Serve, tmp_path: Path, kind: Kind
) -> None:
    path = make_korean_model(kind, tmp_path)
    asked = [(KOREAN[:length], form) for length in (0, 1, 31, 400) for form in FORMS]
    async with serve(path, prefix_cache=0) as serving:
        expected = [await complete(serving, prompt, **form) for prompt, form in asked]
    async with serve(path, lanes=1) as serving:
        texts = [asyncio.create_task(serving.text(KOREAN[:50], max_characters=300)) for _ in range(16)]
        for _ in range(2):
            answers = await asyncio.gather(*(complete(serving, prompt, **form) for prompt, form in asked))
            assert answers == expected
        assert serving.engine.prefixes.hits
        await asyncio.gather(*texts)


async def test_the_next_keystroke_reads_no_character_again(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        await complete(serving, PROMPT)
        prefixes = serving.engine.prefixes
        hits = prefixes.hits
        alphabet = tiny.alphabet
        await complete(serving, PROMPT + "v")
        assert prefixes.hits == hits + 1
        assert prefixes.find(alphabet.encode(PROMPT + "ve")).length == len(PROMPT + "v")


async def test_completions_of_bytes_and_jamo_are_whole_characters(serve: Serve, tmp_path: Path) -> None:
    for kind in KINDS[1:]:
        async with serve(make_korean_model(kind, tmp_path)) as serving:
            answer = await complete(serving, "서울", boundary=pb.COMPLETION_BOUNDARY_CHARACTERS, count=20)
            texts = [one.text for one in answer.completions]
            assert len(set(texts)) == len(texts)
            assert all(len(text) <= 1 and text != "\ufffd" and not "\u1100" <= text < "\u1200" for text in texts)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("count", {"count": 0}),
        ("count", {"count": 21}),
        ("max_characters", {"max_characters": 0}),
        ("max_characters", {"max_characters": 65}),
        ("boundary", {"boundary": 9}),
        ("boundary", {"boundary": pb.COMPLETION_BOUNDARY_WORD, "regex": "a"}),
        ("regex", {"regex": "("}),
        ("regex", {"regex": "a{30}"}),
        ("prompt", {"prompt": "☃"}),
    ],
)
async def test_a_wrong_field_is_named(tiny: TinyModel, serve: Serve, field: str, fields: dict[str, Any]) -> None:
    async with serve(tiny.int8) as serving:
        error = await failure(serving.stub.Complete(pb.CompleteRequest(**fields)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [one.field for one in details(error, BadRequest).field_violations] == [field]


@asynccontextmanager
async def endless_search(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Future[Any]]:
    """A call whose search runs, and never ends by itself."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(*_: object) -> Iterator[None]:
        loop.call_soon_threadsafe(begun.set)
        while True:
            yield

    with monkeypatch.context() as patched:
        patched.setattr(Search, "work", endless)
        call = asyncio.ensure_future(serving.stub.Complete(pb.CompleteRequest()))
        await begun.wait()
        yield call


async def test_a_cancelled_completion_frees_its_place(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8) as serving:
        async with endless_search(serving, monkeypatch) as call:
            assert serving.engine.searches.held == 1
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            while serving.engine.searches.held:
                await asyncio.sleep(0.01)
        assert (await complete(serving)).completions


async def test_a_server_that_drains_ends_completions_at_its_timeout(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8) as serving, endless_search(serving, monkeypatch) as call:
        await serving.service.drain(0.0)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_completion_without_a_place_is_refused(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8, queue_size=1) as serving, endless_search(serving, monkeypatch) as call:
        monkeypatch.setattr(serving.engine.searches, "_places", 1)
        error = await failure(serving.stub.Complete(pb.CompleteRequest()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        call.cancel()


async def test_a_callers_flood_of_costly_completions_lets_others_through(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1) as serving, AsyncClient(f"127.0.0.1:{serving.grpc_port}") as other:
        costly = {"boundary": pb.COMPLETION_BOUNDARY_LINE, "max_characters": 64, "count": 20}
        flood = [asyncio.create_task(complete(serving, PROMPT, **costly)) for _ in range(40)]
        while serving.engine.searches.held < 20:
            await asyncio.sleep(0.01)
        await other.complete(PROMPT)
        assert sum(task.done() for task in flood) < 20
        assert len({answer.SerializeToString() for answer in await asyncio.gather(*flood)}) == 1


async def test_a_search_that_fails_ends_its_call_alone(
    tiny: TinyModel, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Any:
        raise ValueError

    async with serve(tiny.int8) as serving:
        with monkeypatch.context() as patched:
            patched.setattr(Search, "work", failing)
            error = await failure(serving.stub.Complete(pb.CompleteRequest()))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert (await complete(serving)).completions


async def test_the_client_and_the_command_complete(
    tiny: TinyModel, serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8) as serving:
        endpoint = f"127.0.0.1:{serving.grpc_port}"
        async with AsyncClient(endpoint) as client:
            found = await client.complete(PROMPT, count=3)
        monkeypatch.setenv("NEXTCHAR_ENDPOINT", endpoint)
        code, out, _ = await asyncio.to_thread(run, "complete", PROMPT, "--count", "3")
    assert code == 0
    printed = out.splitlines()  # among the server's log
    start = next(place for place, line in enumerate(printed) if line.startswith("PROBABILITY"))
    rows = printed[start : start + 4]
    assert rows[0].split() == ["PROBABILITY", "NATS", "CONTINUATION"]
    assert [row.split()[-1] for row in rows[1:]] == [repr(one.text) for one in found.completions]
