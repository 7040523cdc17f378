"""A prompt that is scored: echoed with its log-probabilities, and no character generated."""

from collections.abc import AsyncIterator

import pytest

from nextchar.v1 import generation_pb2 as pb
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


def asked(top_logprobs: int) -> pb.GenerationParameters:
    return pb.GenerationParameters(max_characters=0, echo=True, top_logprobs=top_logprobs)


@pytest.mark.parametrize("top_logprobs", [0, 3])
async def test_an_echoed_prompt_without_a_generated_character_has_the_bits_of_its_score(
    tiny: TinyModel, serving: Serving, top_logprobs: int
) -> None:
    prompt = tiny.text[:1500]
    score = await serving.stub.Score(pb.ScoreRequest(text=prompt, top_logprobs=top_logprobs))
    whole = await serving.stub.Generate(pb.GenerateRequest(prompt=prompt, parameters=asked(top_logprobs)))
    assert whole.text == prompt
    assert whole.character_logprobs == score.character_logprobs
    assert whole.finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS
    assert whole.finished.usage == pb.Usage(prompt_characters=1500)


async def test_a_stream_of_no_generated_character_ends_after_the_prompt(tiny: TinyModel, serving: Serving) -> None:
    prompt = tiny.text[:1500]
    events = [event async for event in serving.stream(prompt, max_characters=0, echo=True, top_logprobs=0)]
    deltas = [event.delta for event in events if event.HasField("delta")]
    score = await serving.stub.Score(pb.ScoreRequest(text=prompt))
    assert "".join(delta.text for delta in deltas) == prompt
    assert [one for delta in deltas for one in delta.character_logprobs.logprobs] == list(
        score.character_logprobs.logprobs
    )
    assert events[-1].finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS


async def test_an_empty_prompt_without_a_generated_character_is_an_empty_text(serving: Serving) -> None:
    whole = await serving.stub.Generate(pb.GenerateRequest(prompt="", parameters=asked(0)))
    assert (whole.text, whole.finished.finish_reason) == ("", pb.FINISH_REASON_MAX_CHARACTERS)
