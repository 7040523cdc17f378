"""Many texts from one model file: which, in which order, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nextchar_model.description import ModelFileError
from nextchar_model.draws import sample_seed, uniform, uniforms
from nextchar_model.generator import Generator
from nextchar_model.parameters import ParameterError, Parameters, Request
from tests.support.tiny_model import TinyModel


@pytest.fixture(scope="module")
def generator(tiny: TinyModel) -> Generator:
    return Generator(tiny.int8, threads=2)


def test_many_streams_have_the_random_numbers_of_each() -> None:
    seeds = np.random.default_rng(0).integers(0, 2**64, 50, dtype=np.uint64)
    positions = np.arange(50) * 4
    together = uniforms(seeds, positions, 12)
    for row, seed, position in zip(together, seeds.tolist(), positions.tolist(), strict=True):
        assert np.array_equal(row, uniform(seed, position, 12))


def test_a_sample_does_not_depend_on_the_others_and_the_threads(generator: Generator, tiny: TinyModel) -> None:
    settings = Parameters(max_characters=50, stop_sequences=("e",))
    texts = list(generator.samples("the", seed=7, count=500, parameters=settings))
    assert [text.number for text in texts] == list(range(500))
    assert [text.seed for text in texts] == [sample_seed(7, number) for number in range(500)]
    alone = Generator(tiny.int8, threads=1)
    assert list(alone.samples("the", seed=7, first=300, count=3, parameters=settings)) == texts[300:303]


def test_a_generator_that_is_left_early_ends_its_threads(generator: Generator) -> None:
    texts = generator.samples(seed=1, count=10**12, parameters=Parameters(max_characters=5))
    assert isinstance(texts, Iterator)
    assert [next(texts).number for _ in range(3)] == [0, 1, 2]
    texts.close()  # type: ignore[attr-defined]


def test_requests_are_taken_as_their_texts_are_read(generator: Generator) -> None:
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        settings = Parameters(max_characters=3)
        while True:
            taken += 1
            yield Request("", taken, settings)

    texts = generator.texts(endless())
    for _ in range(10):
        next(texts)
    texts.close()  # type: ignore[attr-defined]
    assert taken < 100_000


def test_an_invalid_request_comes_in_its_place(generator: Generator) -> None:
    settings = Parameters(max_characters=3)
    texts = generator.texts([Request("the", 1, settings), Request("日", 2, settings), Request("the", 3, settings)])
    assert next(texts).number == 0
    with pytest.raises(ParameterError, match="prompt: character '日'"):
        next(texts)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"max_characters": 0}, "max_characters"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"regex": "(?=a)a"}, "regex"),
        ({"regex": "a{9}", "max_characters": 8}, "regex"),
        ({"regex": "a", "choices": ("a",)}, "choices"),
        ({"stop_sequences": ("日",)}, "stop_sequences"),
        ({"character_bias": {"ab": 1.0}}, "character_bias"),
        ({"min_characters": 300}, "min_characters"),
    ],
)
def test_an_invalid_parameter_is_named(generator: Generator, settings: dict[str, object], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        list(generator.samples(seed=1, count=1, parameters=Parameters(**settings)))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_an_error_of_the_requests_is_raised(generator: Generator) -> None:
    def broken() -> Iterator[Request]:
        yield Request("the", 1, Parameters(max_characters=3))
        raise OSError("no more")

    texts = generator.texts(broken())
    next(texts)
    with pytest.raises(OSError, match="no more"):
        next(texts)


def test_no_texts_are_no_error(generator: Generator) -> None:
    assert list(generator.samples(seed=1, count=0)) == []
    assert list(generator.texts([])) == []


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(b"none")
    with pytest.raises(ModelFileError):
        Generator(path)
