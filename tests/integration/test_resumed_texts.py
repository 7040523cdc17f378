"""Texts that continue from resume tokens: the same bytes as undisturbed ones, wherever they were cut."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Kind
from nextchar_model.cell import Cell, Precision
from nextchar_model.runner import Runner
from nextchar_server.rpc.tokens import MOST_BYTES
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.trained_model import trained_model

MOST = 40

Columns = list[tuple[str, float, str, tuple[float, ...]]]


async def events(serving: Serving, token: bytes = b"", prompt: str = "", **parameters: Any) -> list[Any]:
    """Returns the events of a text that continues from ``token``, or from ``prompt``."""
    start: dict[str, Any] = {"resume_token": token} if token else {"prompt": prompt}
    request = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(**parameters), **start)
    return [event async for event in serving.stub.GenerateStream(request)]


def columns(events: list[Any]) -> Columns:
    """Returns each character with its log-probability, its alternatives and theirs."""
    rows: Columns = []
    for delta in (event.delta for event in events if event.HasField("delta")):
        beside = delta.character_logprobs
        n = beside.alternatives_per_character
        for place, (character, logprob) in enumerate(zip(delta.text, beside.logprobs, strict=True)):
            part = slice(place * n, place * n + n)
            rows.append((character, logprob, beside.alternatives[part], tuple(beside.alternative_logprobs[part])))
    return rows


def tokens(events: list[Any]) -> dict[int, bytes]:
    """Returns the tokens of the deltas, by the characters before them."""
    deltas = [event.delta for event in events if event.HasField("delta")]
    return {delta.offset + len(delta.text): delta.resume_token for delta in deltas if delta.resume_token}


async def check(serving: Serving, *, prompt: str = "", **parameters: Any) -> int:
    """Cuts a text at each of its tokens, continues from there, and compares. Returns the number of tokens."""
    parameters = {"top_logprobs": 0, **parameters}
    undisturbed = await events(serving, prompt=prompt, max_characters=MOST, resume_interval=1, **parameters)
    expected, finished = columns(undisturbed), undisturbed[-1].finished
    parameters.pop("seed")

    async def continued(place: int, token: bytes) -> None:
        rest = await events(serving, token, max_characters=MOST - place, **parameters)
        assert columns(rest) == expected[place:], place
        assert rest[0].started.seed == undisturbed[0].started.seed
        assert rest[-1].finished.finish_reason == finished.finish_reason
        assert place + rest[-1].finished.usage.generated_characters == finished.usage.generated_characters
        assert rest[-1].finished.usage.prompt_characters == 0

    found = tokens(undisturbed)
    await asyncio.gather(*(continued(place, token) for place, token in found.items() if place < MOST))
    return len(found)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_continues_from_every_place(
    tmp_path: Path, serve: Serve, kind: Kind, cell: Cell, precision: Precision
) -> None:
    path = make_korean_model(kind, tmp_path, cell=cell, precision=precision, endless=True)
    alternatives = 3 if kind == "characters" else 0
    async with serve(path, turn_budget=1e-6) as serving:
        counts = [
            await check(serving, prompt=prompt, seed=seed, temperature=0.9, top_logprobs=alternatives)
            for seed, prompt in enumerate(("", KOREAN[:200]))
        ]
    assert sum(counts) > MOST / 4


@pytest.mark.parametrize("precision", ["fp32", "int8"])
async def test_a_text_of_trained_weights_continues_from_every_place(
    tmp_path: Path, serve: Serve, precision: Precision
) -> None:
    async with serve(trained_model(precision, tmp_path), turn_budget=1e-6) as serving:
        assert await check(serving, prompt="ROMEO:\n", seed=5, top_logprobs=2) == MOST


async def test_no_continuation_adds_to_a_character_that_was_sent(tmp_path: Path, serve: Serve) -> None:
    initial, vowel, final = "ᄀ", "ᅡ", "ᆨ"
    async with serve(make_korean_model("jamo", tmp_path)) as serving:
        parameters: dict[str, Any] = {"seed": 1, "character_bias": {initial: 6.0, vowel: 6.0}, "resume_interval": 1}
        first = await events(serving, max_characters=MOST, **parameters)
        text = "".join(event.delta.text for event in first)
        open_ones = [token for place, token in tokens(first).items() if text[place - 1] == "가" and place < MOST]
        assert open_ones
        for token in open_ones:
            rest = await events(serving, token, max_characters=1, character_bias={final: 100.0})
            assert rest[1].delta.text != final


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_a_text_continues_whatever_the_length_of_turns(tiny: TinyModel, serve: Serve, precision: str) -> None:
    for settings in ({"lanes": 1, "turn_budget": 1.0}, {"lanes": 2, "turn_budget": 1e-6}):
        async with serve(getattr(tiny, precision), **settings) as serving:
            assert await check(serving, prompt="the sun", seed=5, top_logprobs=2, top_k=9) == MOST


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_sequence_is_found_across_a_cut(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    async with serve(make_korean_model(kind, tmp_path)) as serving:
        for seed in range(40):
            text = await serving.text("서울", seed=seed, max_characters=MOST)
            if len(text) < MOST:
                continue
            for include in (False, True):
                stops = [text[30:37], text[20:23] + "\n\n", text[10:18] + "  "]
                await check(
                    serving,
                    prompt="서울",
                    seed=seed,
                    stop_sequences=stops,
                    include_stop_sequence=include,
                    top_logprobs=0,
                )
            break


async def test_every_finished_has_a_token_from_which_the_text_continues(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        whole = await serving.text("the", seed=4, max_characters=300)
        for most in (1, 47, 48, 100, 299):
            first = await events(serving, prompt="the", seed=4, max_characters=most)
            token = first[-1].finished.resume_token
            rest = await events(serving, token, max_characters=300 - most)
            assert whole[most:] == "".join(event.delta.text for event in rest)


async def test_a_text_of_generate_continues_too(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        whole = await serving.text("the", seed=4, max_characters=90)
        parameters = pb.GenerationParameters(seed=4, max_characters=30)
        first = await serving.stub.Generate(pb.GenerateRequest(prompt="the", parameters=parameters))
        parameters = pb.GenerationParameters(max_characters=60)
        request = pb.GenerateRequest(resume_token=first.finished.resume_token, parameters=parameters)
        rest = await serving.stub.Generate(request)
    assert first.text + rest.text == whole


async def test_after_the_end_of_a_document_the_next_one_begins(tiny: TinyModel, serve: Serve) -> None:
    bias = dict.fromkeys(tiny.alphabet.symbols, -60.0)
    async with serve(tiny.int8) as serving:
        first = await events(serving, seed=4, prompt="the", max_characters=300, character_bias=bias)
        assert first[-1].finished.finish_reason == pb.FINISH_REASON_END_OF_DOCUMENT
        token = first[-1].finished.resume_token
        rest = await events(serving, token, max_characters=20, temperature=0.0)
        assert "".join(event.delta.text for event in rest) == await serving.text(max_characters=20, temperature=0.0)


async def test_after_a_stop_sequence_the_text_continues_behind_it(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        whole = await serving.text("the", seed=4, max_characters=300)
        stop = whole[100:104]
        end = whole.index(stop) + 4
        first = await events(serving, prompt="the", seed=4, max_characters=300, stop_sequences=[stop])
        rest = await events(serving, first[-1].finished.resume_token, max_characters=300 - end)
    assert whole[end:] == "".join(event.delta.text for event in rest)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_a_token_takes_200_bytes_more_than_the_state_at_most(
    tiny: TinyModel, serve: Serve, precision: str
) -> None:
    path = getattr(tiny, precision)
    async with serve(path, lanes=1, turn_budget=1.0) as serving:
        found = [
            event.finished.resume_token or event.delta.resume_token
            for most in (40, 250, 700)
            for event in await events(serving, prompt=tiny.text[:most], max_characters=most, resume_interval=0)
        ]
    sizes = [len(token) for token in found if token]
    assert max(sizes) <= Runner(path).description.state_bytes + MOST_BYTES
    assert len(sizes) == len(found) - 3  # each text's Started has none


async def test_an_interval_bounds_the_characters_between_two_tokens(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        for interval in (1, 7, 100):
            places = [0, *tokens(await events(serving, max_characters=500, resume_interval=interval))]
            assert max(after - before for before, after in pairwise(places)) <= interval
        without = await events(serving, max_characters=500)
        assert not tokens(without)
        assert without[-1].finished.resume_token
