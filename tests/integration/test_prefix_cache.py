"""The prefix cache through a real server: the same bytes without it, and while it is cold, warm and evicting."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Kind
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel

Request = tuple[str, dict[str, Any]]

FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"top_logprobs": 0},
    {"echo": True, "top_logprobs": 0},
    {"temperature": 0.5, "top_k": 5, "stop_sequences": ["값"]},
)


def requests(text: str) -> list[Request]:
    """Returns requests whose prompts repeat, extend and share the beginnings of each other."""
    prompts = [text[:length] for length in (80, 300, 301, 520, 520, 560)]
    prompts += [text[:400] + text[:90], text[:400] + text[20:110], text[1:100]]
    return [
        (prompt, {"seed": seed, "max_characters": 24, **FORMS[seed % len(FORMS)]})
        for seed, prompt in enumerate(prompts)
    ]


async def answer(serving: Serving, request: Request) -> pb.GenerateResponse:
    prompt, parameters = request
    whole: pb.GenerateResponse = await serving.stub.Generate(
        pb.GenerateRequest(prompt=prompt, parameters=pb.GenerationParameters(**parameters))
    )
    whole.started.ClearField("request_id")
    whole.finished.ClearField("resume_token")  # its signature depends on the server's key
    return whole


async def check_answers(serve: Serve, path: Path, asked: list[Request], **settings: Any) -> None:
    """Asks servers without a cache, with one that is cold and then warm, and with one that drops prefixes all along."""
    async with serve(path, prefix_cache=0, **settings) as serving:
        expected = [await answer(serving, request) for request in asked]
        assert serving.engine.prefixes.hits == 0
    async with serve(path, **settings) as serving:
        for _ in range(2):
            assert await asyncio.gather(*(answer(serving, request) for request in asked)) == expected
        assert serving.engine.prefixes.hits >= len(asked) / 2
    async with serve(path, **settings) as serving:
        prefixes = serving.engine.prefixes
        prefixes.size = 3500  # of three states
        assert [await answer(serving, request) for request in asked] == expected
        assert prefixes.hits > 0
        assert 0 < prefixes.used <= prefixes.size


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_are_the_same_with_and_without_it_in_every_alphabet(
    serve: Serve, tmp_path: Path, kind: Kind
) -> None:
    await check_answers(serve, make_korean_model(kind, tmp_path), requests(2 * KOREAN))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
async def test_answers_are_the_same_with_and_without_it_for_every_cell(
    tiny_of: Callable[[str], TinyModel], serve: Serve, cell: str, precision: str
) -> None:
    tiny = tiny_of(cell)
    asked = [
        (prompt, {**parameters, "stop_sequences": [], "top_logprobs": 3}) for prompt, parameters in requests(tiny.text)
    ]
    await check_answers(serve, getattr(tiny, precision), asked, turn_budget=1e-6)


async def test_the_metrics_count_prompts_that_were_known(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:

        def value(name: str) -> float | None:
            return serving.server._metrics.registry.get_sample_value(f"nextchar_prefix_{name}", {"model": "int8"})

        for _ in range(3):
            await serving.text(tiny.text[:300], max_characters=5)
        assert (value("hits_total"), value("misses_total")) == (2, 1)
        assert value("bytes") == serving.engine.prefixes.used > 0


async def test_a_prompt_that_was_known_counts_as_read(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        for _ in range(2):
            whole = await answer(serving, (tiny.text[:300], {"max_characters": 5}))
            assert whole.finished.usage.prompt_characters == 300
