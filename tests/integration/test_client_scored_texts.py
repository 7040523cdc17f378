"""The client's scores of a real server: by every way the same bits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nextchar_client import AsyncClient, InvalidArgumentError, ScoredPart, ScoredText
from tests.support.command import COMMAND
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel, make_text
from tests.support.waiting import until


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


@pytest.fixture
async def caller(serving: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        yield client


async def test_a_streamed_text_has_the_scores_of_one_call(caller: AsyncClient) -> None:
    text = make_text(5000)
    whole = await caller.score(text)
    events = [event async for event in caller.score_stream([[text[:1], text[1:1700], text[1700:]], text[:10]])]
    parts = [event for event in events if isinstance(event, ScoredPart) and event.index == 0]
    totals = [event for event in events if isinstance(event, ScoredText)]
    assert tuple(place for part in parts for place in part.characters) == whole.characters
    assert (totals[0].total_logprob, totals[0].bits_per_character) == (whole.total_logprob, whole.bits_per_character)
    assert totals[1].total_logprob == (await caller.score(text[:10])).total_logprob


async def test_candidates_have_the_scores_of_the_text_behind_the_prefix(caller: AsyncClient) -> None:
    text = make_text(60)
    whole = await caller.score(text)
    answer = await caller.rescore(text[:40], [text[40:], text[40:50]], top_logprobs=0)
    assert [each.characters for each in answer.scores] == [whole.characters[40:], whole.characters[40:50]]


async def test_leaving_a_stream_of_scores_frees_its_place(caller: AsyncClient, serving: Serving) -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield make_text(1000)
            await asyncio.sleep(0)

    free = serving.engine.admission.free
    scores = caller.score_stream([endless()])
    await anext(scores)
    await anext(scores)
    await scores.aclose()
    await until(lambda: serving.engine.admission.free == free)


async def test_lines_have_the_scores_of_one_call_each(caller: AsyncClient, serving: Serving, tmp_path: Path) -> None:
    text = make_text(3000)
    lines = [text[start : start + 1 + start % 40].replace("\n", "a") for start in range(0, 2900, 20)]
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(lines))
    command = [*COMMAND, "score", "--lines", "--json", "--file", str(file)]
    command += ["--endpoint", f"127.0.0.1:{serving.grpc_port}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found = [json.loads(line) for line in output.splitlines()]
    assert [each["text"] for each in found] == lines
    for number in (0, 71, 144):
        assert found[number]["total_logprob"] == (await caller.score(lines[number])).total_logprob


async def test_an_error_while_the_text_is_still_sent_is_the_servers(caller: AsyncClient) -> None:
    part = make_text(4000)[:4000]
    for _ in range(20):  # the error comes before, behind or between the writes that it makes fail
        parts = [part] * 3 + ["\u4e2d"] + [part] * 60
        with pytest.raises(InvalidArgumentError, match=r"U\+4E2D\) at offset 12000 "):
            [event async for event in caller.score_stream([parts])]
