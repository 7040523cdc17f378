"""Constrained texts from a real server: each matches wholly, is completed in time, and depends on nothing else."""

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Kind
from tests.support.asking import generated
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving, failure
from tests.support.tiny_model import TinyModel

COMPATIBILITY = Path(__file__).parents[1] / "compatibility" / "model.onnx"

ENGLISH = [
    ("[a-z]{3,9}", 12),
    ("(the |a )*(sun|moon|stars)", 21),
    (".*love.*", 17),
    (r"\w+(, \w+)*[.!?]", 25),
    ("(no|yes)+;", 9),
    (r"[^ ]*\n?", 6),
]
HANGUL = [("[가-힣]{2,5}", 5), ("(서울|강남|값)+구", 11), (".*책", 9), ("[가-힣 ]*é!", 8), (r"\w{3}( \w{2})*", 12)]


async def check_all(serving: Serving, patterns: list[tuple[str, int]], seeds: int = 12) -> None:
    async def check(pattern: str, most: int, seed: int) -> None:
        temperature = (0.0, 0.8, 1.0, 2.0)[seed % 4]
        text, finished = await generated(
            serving, prompt="the"[: seed % 2], regex=pattern, max_characters=most, seed=seed, temperature=temperature
        )
        assert re.fullmatch(pattern, text), (pattern, text)
        assert len(text) <= most
        assert len(text) == finished.usage.generated_characters
        reasons = {pb.FINISH_REASON_REGEX_COMPLETE, pb.FINISH_REASON_END_OF_DOCUMENT, pb.FINISH_REASON_MAX_CHARACTERS}
        assert finished.finish_reason in reasons
        assert (finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS) <= (len(text) == most)

    await asyncio.gather(*(check(pattern, most, seed) for pattern, most in patterns for seed in range(seeds)))


@pytest.mark.parametrize("turn_budget", [1e-6, 1.0])
async def test_every_text_matches_and_is_completed(tiny: TinyModel, serve: Serve, turn_budget: float) -> None:
    async with serve(tiny.int8, turn_budget=turn_budget) as serving:
        await check_all(serving, ENGLISH)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_text_matches_in_every_alphabet(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    async with serve(make_korean_model(kind, tmp_path)) as serving:

        async def check(pattern: str, most: int, seed: int) -> None:
            text, _ = await generated(serving, prompt=KOREAN[: 3 * seed], regex=pattern, max_characters=most, seed=seed)
            assert re.fullmatch(pattern, text), (pattern, text)
            assert len(text) <= most

        await asyncio.gather(*(check(pattern, most, seed) for pattern, most in HANGUL for seed in range(8)))


async def test_a_constrained_text_is_the_same_beside_others_and_whatever_the_turns(
    tiny: TinyModel, serve: Serve
) -> None:
    texts = []
    for turn_budget, max_batch in ((1e-6, 3), (1.0, 64)):
        async with serve(tiny.int8, turn_budget=turn_budget, max_batch=max_batch) as serving:
            others = [serving.text("the", seed=seed, max_characters=40) for seed in range(9)]
            asked = [
                generated(serving, prompt="a", regex=pattern, max_characters=most, seed=seed, top_p=0.9)
                for pattern, most in ENGLISH
                for seed in range(4)
            ]
            await asyncio.gather(*others)
            texts.append([(text, finished.finish_reason) for text, finished in await asyncio.gather(*asked)])
    assert texts[0] == texts[1]


async def test_free_rows_keep_their_texts_beside_constrained_ones(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        alone = await serving.text("the", seed=3, max_characters=60)
        beside = [generated(serving, regex="[a-z ]{50}", max_characters=60, seed=seed) for seed in range(5)]
        text, *_ = await asyncio.gather(serving.text("the", seed=3, max_characters=60), *beside)
    assert text == alone


@pytest.mark.parametrize("kind", KINDS)
async def test_a_constrained_text_continues_from_every_token(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    most = 14
    async with serve(make_korean_model(kind, tmp_path), turn_budget=1e-6) as serving:
        for seed, (pattern, _) in enumerate(HANGUL):
            options: dict[str, Any] = {"regex": pattern, "temperature": 0.9}
            request = serving.stream(seed=seed, max_characters=most, resume_interval=1, **options)
            events = [event async for event in request]
            deltas = [event.delta for event in events if event.HasField("delta")]
            text = "".join(delta.text for delta in deltas)
            for delta in deltas:
                place = delta.offset + len(delta.text)
                if delta.resume_token and place < most:
                    rest, finished = await generated(
                        serving, delta.resume_token, max_characters=most - place, **options
                    )
                    assert text[:place] + rest == text
                    assert finished.finish_reason == events[-1].finished.finish_reason


async def test_a_token_of_another_expression_is_refused(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        _, finished = await generated(serving, regex="[a-z]{4}", max_characters=2 + 2)
        error = await failure(
            serving.stub.Generate(
                pb.GenerateRequest(
                    resume_token=finished.resume_token, parameters=pb.GenerationParameters(regex="[a-z]*")
                )
            )
        )
    assert "parameters.regex: isn't that of the text which resume_token continues" in str(error.details())


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"regex": "(a"}, "parameters.regex: not a regular expression: missing )"),
        ({"regex": r"(a)\1"}, "parameters.regex: a back-reference at offset 3 is not served"),
        ({"regex": "(a|e)*a(a|e){18}"}, "parameters.regex: too large: its automaton has more than"),
        ({"regex": "[a-z]{9}", "max_characters": 8}, "its shortest match has 9 characters; max_characters is 8"),
        ({"regex": "[0-9]"}, "parameters.regex: no text that the model can write matches: its alphabet lacks"),
        ({"choices": ["a", "4"]}, "parameters.choices: choice 1: the model's alphabet lacks '4'"),
        ({"choices": ["a"], "regex": "a"}, "parameters.choices: doesn't go with regex"),
        ({"json_schema": "{}", "regex": "a"}, "parameters.json_schema: doesn't go with regex"),
        ({"json_schema": "{"}, "parameters.json_schema: not JSON: Expecting property name"),
        ({"json_schema": '{"type": "array", "uniqueItems": true}'}, "json_schema: #: the keyword 'uniqueItems'"),
        ({"json_schema": '{"type": "null"}', "max_characters": 3}, "its shortest match has 4 characters"),
        ({"choices": [""] * 100_001}, "parameters.choices: more than 100000 are not allowed"),
        ({"regex": "a", "min_characters": 1}, "parameters.min_characters: doesn't go with regex"),
        ({"choices": ["a"], "ignore_end_of_document": True}, "ignore_end_of_document: doesn't go with choices"),
        ({"min_characters": 9, "max_characters": 8}, "parameters.min_characters: 9 is more than max_characters, 8"),
    ],
)
async def test_a_constraint_that_cannot_be_served_is_refused_with_the_reason(
    tiny: TinyModel, serve: Serve, parameters: dict[str, Any], reason: str
) -> None:
    async with serve(tiny.int8) as serving:
        error = await failure(serving.stream("the", **parameters))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in str(error.details())


async def test_one_of_the_choices_is_generated(tiny: TinyModel, serve: Serve) -> None:
    choices = ["Romeo", "Juliet", "sun", "sun; moon"]
    async with serve(tiny.int8) as serving:
        texts = [await generated(serving, choices=choices, seed=seed) for seed in range(20)]
    assert {text for text, _ in texts} <= set(choices)
    assert len({text for text, _ in texts}) > 1
    assert {finished.finish_reason for text, finished in texts if text != "sun"} == {pb.FINISH_REASON_REGEX_COMPLETE}


async def test_a_stop_sequence_ends_a_constrained_text(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        text, finished = await generated(serving, regex="[a-z]*love[a-z]*", stop_sequences=["love"], max_characters=30)
    assert finished.finish_reason == pb.FINISH_REASON_STOP_SEQUENCE
    assert re.fullmatch("[a-z]*", text)


async def test_the_document_does_not_end_before_min_characters(tiny: TinyModel, serve: Serve) -> None:
    bias = dict.fromkeys(tiny.alphabet.symbols, -90.0)
    async with serve(tiny.int8, turn_budget=1e-6) as serving:
        for least in (0, 1, 7, 20):
            text, finished = await generated(serving, character_bias=bias, min_characters=least, max_characters=20)
            assert len(text) == least
            ended = pb.FINISH_REASON_END_OF_DOCUMENT if least < 20 else pb.FINISH_REASON_MAX_CHARACTERS
            assert finished.finish_reason == ended


@pytest.mark.parametrize("kind", KINDS)
async def test_texts_have_min_characters_in_every_alphabet(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    async with serve(make_korean_model(kind, tmp_path)) as serving:
        options: dict[str, Any] = {"temperature": 3.0, "max_characters": 60, "prompt": KOREAN[:5]}
        free = await asyncio.gather(*(generated(serving, seed=seed, **options) for seed in range(30)))
        long = await asyncio.gather(
            *(generated(serving, seed=seed, min_characters=50, **options) for seed in range(30))
        )
    assert min(len(text) for text, _ in free) < 50
    assert min(len(text) for text, _ in long) >= (50 if kind != "bytes" else 45)  # marks may compose


async def test_the_end_of_the_document_can_be_ignored(tiny: TinyModel, serve: Serve) -> None:
    bias = dict.fromkeys(tiny.alphabet.symbols, -90.0)
    async with serve(tiny.int8) as serving:
        text, _ = await generated(serving, character_bias=bias, ignore_end_of_document=True, max_characters=9)
    assert len(text) == 9


@pytest.mark.parametrize("kind", ["jamo", "bytes"])
async def test_texts_are_well_formed_unless_a_request_says_otherwise(tmp_path: Path, serve: Serve, kind: Kind) -> None:
    def is_broken(text: str) -> bool:
        broken = "\ufffd" if kind == "bytes" else map(chr, range(0x1100, 0x1200))
        return not set(broken).isdisjoint(text)

    async with serve(make_korean_model(kind, tmp_path, endless=True)) as serving:
        options: dict[str, Any] = {"temperature": 1.5, "max_characters": 100}
        texts = await asyncio.gather(*(serving.text(KOREAN[:9], seed=seed, **options) for seed in range(30)))
        allowed = await serving.text(KOREAN[:9], seed=1, allow_malformed=True, **options)
    assert not any(map(is_broken, texts))
    assert is_broken(allowed)
    assert {len(text) for text in texts} == {100}


async def test_a_constrained_text_is_the_same_behind_a_known_prompt(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        asked: dict[str, Any] = {"prompt": tiny.text[:300], "regex": "[a-z]+(, [a-z]+)*!", "max_characters": 30}
        texts = {(await generated(serving, seed=1, **asked))[0] for _ in range(3)}
        assert serving.engine.prefixes.hits > 0
    assert len(texts) == 1


async def test_log_probabilities_of_a_constrained_text_are_those_of_the_model(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        parameters = pb.GenerationParameters(regex="[a-z]{12}", max_characters=12, top_logprobs=2, seed=4)
        answer = await serving.stub.Generate(pb.GenerateRequest(prompt="the ", parameters=parameters))
        score = await serving.stub.Score(pb.ScoreRequest(text="the " + answer.text))
    assert len(answer.text) == 12
    assert list(answer.character_logprobs.logprobs) == list(score.character_logprobs.logprobs)[4:]


@pytest.mark.parametrize("parameters", [{"regex": "a"}, {"choices": ["a"]}, {"min_characters": 1}])
async def test_a_model_file_of_an_earlier_format_serves_no_constraint(serve: Serve, parameters: dict[str, Any]) -> None:
    async with serve(COMPATIBILITY) as serving:
        error = await failure(serving.stream(**parameters))
        assert await serving.text(seed=1, max_characters=5, ignore_end_of_document=True)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "has the format of an earlier release" in str(error.details())


async def test_an_expression_is_compiled_once(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        await asyncio.gather(*(generated(serving, regex="[a-z]{3}", max_characters=3) for _ in range(5)))
        await generated(serving, regex="[a-z]{3}", max_characters=3)
        await failure(serving.stream(regex="("))
        await failure(serving.stream(regex="("))
        counts = {
            result: serving.server._metrics.constraints.labels(result)._value.get()
            for result in ("compiled", "kept", "refused")
        }
    assert counts["compiled"] == 1
    assert counts["refused"] == 1
    assert counts["kept"] >= 2


async def test_the_longest_text_can_be_constrained(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=2**31) as serving:
        assert len(await serving.text(regex="[a-z]{3}", max_characters=2**31)) == 3
        stream = serving.stream(min_characters=9, max_characters=2**31, stop_sequences=["e", "o", " "])
        events = [event async for event in stream]
    assert events[-1].finished.finish_reason == pb.FINISH_REASON_STOP_SEQUENCE
