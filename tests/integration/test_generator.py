"""The generator without a server returns the bytes that a server does."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Kind
from nextchar_model.draws import sample_seed
from nextchar_model.generator import Generator
from nextchar_model.parameters import Parameters, Request, Text
from tests.support.korean_model import KINDS, make_korean_model
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel

COUNT, SEED = 64, 2**64 - 99

Models = Callable[[Kind], Path]

SETTINGS: list[dict[str, Any]] = [
    {"max_characters": 7},
    {"max_characters": 60, "temperature": 1.5, "top_k": 20, "top_p": 0.95, "min_p": 0.001},
    {"max_characters": 40, "stop_sequences": ("e", "값", "12"), "include_stop_sequence": True},
    {"max_characters": 40, "stop_sequences": (" ", "né")},
    {"max_characters": 12, "regex": "[가-힣 ]{2,5}|[a-z]{3,9}"},
    {"max_characters": 12, "choices": ("서울", "서울특별시", "책들.", "")},
    {"max_characters": 30, "min_characters": 10, "ignore_end_of_document": False},
    {"max_characters": 30, "allow_malformed": True, "ignore_end_of_document": True, "temperature": 2.0},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return cache(lambda kind: make_korean_model(kind, tmp_path_factory.mktemp("generator")))


def plain(text: Text) -> tuple[int, str, str, str, int]:
    return text.number, text.text, f"FINISH_REASON_{text.finish_reason.upper()}", *text[4:]


def of_sample(sample: pb.Sample) -> tuple[int, str, str, str, int]:
    finished = sample.finished
    reason = pb.FinishReason.Name(finished.finish_reason)
    return sample.index, sample.text, reason, finished.stop_sequence, finished.usage.generated_characters


async def served(serving: Serving, prompt: str, settings: dict[str, Any]) -> list[tuple[int, str, str, str, int]]:
    """The samples of a server."""
    parameters = pb.GenerationParameters(seed=SEED, **settings)
    answers = [
        await serving.stub.Generate(
            pb.GenerateRequest(prompt=prompt, parameters=parameters, samples=64, first_sample=first)
        )
        for first in range(0, COUNT, 64)
    ]
    return [of_sample(sample) for answer in answers for sample in answer.samples]


@pytest.mark.parametrize("prompt", ["", "서울특별시 강남구"])
@pytest.mark.parametrize("kind", KINDS)
async def test_samples_are_those_of_a_server(models: Models, serve: Serve, kind: Kind, prompt: str) -> None:
    generator = Generator(models(kind), threads=2)
    async with serve(models(kind)) as serving:
        for settings in SETTINGS:
            texts = generator.samples(prompt, seed=SEED, count=COUNT, parameters=Parameters(**settings))
            assert list(map(plain, texts)) == await served(serving, prompt, settings), settings


def test_texts_of_different_requests_come_in_order(tiny: TinyModel) -> None:
    prompts = ["", "the", "the sun", "yes"]
    settings = [Parameters(max_characters=n, temperature=t) for n in (1, 30, 200) for t in (0.5, 1.0)]
    requests = [Request(prompts[n % 4], sample_seed(7, n), settings[n % 6]) for n in range(300)]
    together = Generator(tiny.int8, threads=2).texts(iter(requests))
    alone = Generator(tiny.int8, threads=1)
    for number, text in enumerate(together):
        assert text.number == number
        if number % 29 == 0:
            (single,) = alone.texts([requests[number]])
            assert single[1:] == text[1:]
    assert number == 299
