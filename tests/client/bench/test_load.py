"""The requests that ``nextchar bench`` sends, and when."""

import math
from itertools import islice, pairwise
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import InvalidArgumentError
from nextchar_client.bench.generator import LoadGenerator
from nextchar_client.bench.load import Load, arrivals, requests

LOAD = Load(streams=1, requests=1)
TEXT = "To be, or not to be: that is the question.\n" * 20


def test_the_default_is_one_caller_for_ten_seconds() -> None:
    assert Load() == Load(streams=1, seconds=10.0)
    assert (Load(rate=2.0).streams, Load(requests=3).seconds) == (None, None)


@pytest.mark.parametrize("rate", [0.5, 20.0, 3000.0])
def test_arrivals_have_the_rate_and_the_spread_of_a_poisson_process(rate: float) -> None:
    times = [0.0, *islice(arrivals(Load(rate=rate, requests=1)), 20_000)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / rate, rel=0.03)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), rel=0.03)
    assert sum(gap > 2 * mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-2), rel=0.06)


def test_the_seed_decides_the_arrivals() -> None:
    first, again, other = (list(islice(arrivals(Load(rate=9, requests=1, seed=seed)), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_seed_decides_the_requests() -> None:
    first, again, other = (
        list(islice(requests(Load(streams=1, requests=1, seed=seed), "abc"), 50)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_no_two_requests_have_the_same_seed() -> None:
    seeds = {request.parameters.seed for request in islice(requests(LOAD, "abc"), 1000)}
    assert len(seeds) == 1000


def test_lengths_reach_from_the_least_to_the_most() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(0, 5), max_characters=(10, 13))
    sent = list(islice(requests(load, "abc", TEXT), 1000))
    assert {len(request.prompt) for request in sent} == set(range(6))
    assert {request.parameters.max_characters for request in sent} == {10, 11, 12, 13}


def test_prompts_are_cut_from_all_over_the_text() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    prompts = [request.prompt for request in islice(requests(LOAD, "", text), 2000)]
    assert all(prompt in text for prompt in prompts)
    assert set("".join(prompts)) == set(text)


def test_an_unknown_character_of_a_given_text_is_an_error_of_the_server() -> None:
    assert not next(requests(LOAD, "abc", TEXT)).parameters.HasField("unknown_characters")


def test_without_a_text_prompts_are_of_the_alphabet_and_characters_that_compose_are_skipped() -> None:
    sent = list(islice(requests(LOAD, ["e", "\u0301", "한"]), 100))
    assert set("".join(request.prompt for request in sent)) == {"e", "\u0301", "한"}
    assert {request.parameters.unknown_characters for request in sent} == {pb.UNKNOWN_CHARACTERS_SKIP}


def test_prompts_of_no_characters_need_no_alphabet() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(0, 0))
    assert next(requests(load, [])).prompt == ""


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"streams": 1, "rate": 1.0}, "streams, rate: give one of them, not both"),
        ({"requests": 1, "seconds": 1.0}, "requests, seconds: give one of them, not both"),
        ({"streams": 0}, "streams: 0 is invalid; it must be above 0"),
        ({"requests": 0}, "requests: 0 is invalid; it must be above 0"),
        ({"rate": -1.0}, "rate: -1.0 is invalid"),
        ({"rate": math.inf}, "rate: inf is invalid"),
        ({"rate": math.nan}, "rate: nan is invalid"),
        ({"seconds": 0.0}, "seconds: 0.0 is invalid"),
        ({"timeout": 0.0}, "timeout: 0.0 is invalid"),
        ({"warm_up": -1}, "warm_up: -1 is invalid; it must be at least 0"),
        ({"ramp": -1.0}, "ramp: -1.0 is invalid; it must be at least 0"),
        ({"rate": 1.0, "ramp": 1.0}, "ramp: an open loop has no callers"),
        ({"max_characters": (0, 5)}, "max_characters: 0 to 5 is invalid"),
        ({"max_characters": (6, 5)}, "max_characters: 6 to 5"),
        ({"max_characters": (1, 2**32)}, "max_characters: 1 to 4294967296"),
        ({"prompt_characters": (-1, 5)}, "prompt_characters: -1 to 5"),
    ],
)
def test_a_load_that_cannot_be_sent_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        Load(**fields)


def test_a_text_shorter_than_the_longest_prompt_is_refused() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(1, 4))
    LoadGenerator("127.0.0.1:1", load, "abcd")
    with pytest.raises(InvalidArgumentError, match="a prompt of 4 can't be cut from a text of 3 characters"):
        LoadGenerator("127.0.0.1:1", load, "ab\u0065\u0301")  # three characters in NFC
