"""Requests: an invalid field is named before anything runs; an absent one has its default."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nextchar.v1
from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.catalog import Limits
from nextchar_server.rpc import requests, texts
from nextchar_server.rpc.errors import InvalidArgumentError
from tests.support.asking import ALPHABET, LIMITS, finished, generation, no_token, refusal, scoring

NAN, INFINITY = float("nan"), float("inf")

# Defaults.


def test_a_request_without_parameters_has_the_defaults_of_the_protocol() -> None:
    asked = generation()
    settings = asked.settings
    assert asked.prompt.ids.tolist() == []
    assert asked.max_characters == 256
    assert (settings.temperature, settings.top_k, settings.top_p, settings.min_p) == (1.0, 0, 1.0, 0.0)
    assert settings.bias is None
    assert asked.stop_sequences == ()
    assert asked.include_stop_sequence is False
    assert asked.echo is False
    assert asked.top_logprobs is None


@pytest.mark.parametrize("kind", [pb.GenerateRequest, pb.GenerateStreamRequest])
def test_an_empty_request_is_served(kind: type[Any]) -> None:
    assert finished(requests.generation(kind(), ALPHABET, LIMITS, no_token)).max_characters == 256


def test_the_default_length_is_within_a_smaller_limit() -> None:
    assert generation(limits=Limits(max_characters=10, max_prompt_characters=10)).max_characters == 10


def test_a_seed_is_drawn_if_none_is_given() -> None:
    seeds = {generation().seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**64 for seed in seeds)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_given_seed_is_taken(seed: int) -> None:
    assert generation(seed=seed).seed == seed


def test_zero_is_a_value_and_not_absence() -> None:
    asked = generation(temperature=0.0, top_k=0, min_p=0.0, seed=0, top_logprobs=0)
    assert asked.settings.temperature == 0.0
    assert asked.seed == 0
    assert asked.top_logprobs == 0


def test_given_values_are_taken() -> None:
    asked = generation(
        "ab",
        max_characters=7,
        temperature=0.5,
        top_k=3,
        top_p=0.25,
        min_p=0.125,
        stop_sequences=["a", "bc"],
        include_stop_sequence=True,
        echo=True,
        top_logprobs=20,
    )
    settings = asked.settings
    assert asked.prompt.ids.tolist() == ALPHABET.encode("ab").tolist()
    assert asked.max_characters == 7
    assert (settings.temperature, settings.top_k, settings.top_p, settings.min_p) == (0.5, 3, 0.25, 0.125)
    assert asked.stop_sequences == ("a", "bc")
    assert (asked.include_stop_sequence, asked.echo, asked.top_logprobs) == (True, True, 20)


# Numbers.


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_characters", 1),
        ("max_characters", 1000),
        ("temperature", 0.0),
        ("temperature", -0.0),
        ("temperature", 1e-45),
        ("temperature", 100.0),
        ("top_k", 2**32 - 1),
        ("top_p", 1e-45),
        ("top_p", 1.0),
        ("min_p", 0.0),
        ("min_p", 1.0),
        ("top_logprobs", 0),
        ("top_logprobs", 20),
    ],
)
def test_the_ends_of_a_range_are_in_it(field: str, value: Any) -> None:
    generation(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "description"),
    [
        ("max_characters", 0, "0 is not between 1 and 1000"),
        ("max_characters", 1001, "1001 is not between 1 and 1000"),
        ("max_characters", 2**32 - 1, "4294967295 is not between 1 and 1000"),
        ("temperature", -1.0, "-1 is not between 0 and 100"),
        ("temperature", -1e-45, "-1.4013e-45 is not between 0 and 100"),
        ("temperature", 100.5, "100.5 is not between 0 and 100"),
        ("temperature", NAN, "nan is not between 0 and 100"),
        ("temperature", INFINITY, "inf is not between 0 and 100"),
        ("temperature", -INFINITY, "-inf is not between 0 and 100"),
        ("top_p", 0.0, "0 is not above 0 and at most 1"),
        ("top_p", -0.0, "-0 is not above 0 and at most 1"),
        ("top_p", -0.5, "-0.5 is not above 0 and at most 1"),
        ("top_p", 2.0, "2 is not above 0 and at most 1"),
        ("top_p", NAN, "nan is not above 0 and at most 1"),
        ("min_p", -0.1, "-0.1 is not between 0 and 1"),
        ("min_p", 1.5, "1.5 is not between 0 and 1"),
        ("min_p", NAN, "nan is not between 0 and 1"),
        ("top_logprobs", 21, "21 is not between 0 and 20"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_field_and_range(field: str, value: Any, description: str) -> None:
    assert refusal(lambda: generation(**{field: value})) == (f"parameters.{field}", description)


# Scoring.


def test_a_text_to_score_is_taken() -> None:
    asked = scoring("ab", top_logprobs=3)
    assert asked.text.ids.tolist() == ALPHABET.encode("ab").tolist()
    assert asked.top_logprobs == 3


def test_scoring_returns_no_alternatives_unless_asked_for() -> None:
    assert scoring("ab").top_logprobs == 0


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda: scoring(""), "text"),
        (lambda: scoring("a" * 51), "text"),
        (lambda: scoring("az"), "text"),
        (lambda: scoring("zz", unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP), "text"),
        (lambda: scoring("a", top_logprobs=21), "top_logprobs"),
        (lambda: scoring("a", unknown_characters=99), "unknown_characters"),
        (lambda: scoring("a", replacement_character="?"), "replacement_character"),
        (lambda: scoring("a", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE), "replacement_character"),
    ],
    ids=["empty", "too long", "unknown character", "nothing left", "top_logprobs", "unknown", "replacement", "none"],
)
def test_a_text_that_cannot_be_scored_is_refused_with_its_field(ask: Callable[[], object], field: str) -> None:
    assert refusal(ask)[0] == field


# Resume tokens, and a feature that this version does not serve.


@pytest.mark.parametrize("regex", ["", "[a-z]+"])
def test_a_regex_is_taken_as_it_is(regex: str) -> None:
    asked = generation(regex=regex)
    assert (asked.constraint_field, asked.constraint_texts) == ("parameters.regex", (regex,))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seed": 0}, "parameters.seed: doesn't go with resume_token, which has a seed"),
        ({"echo": True}, "parameters.echo: doesn't go with resume_token: there is no prompt"),
    ],
)
def test_neither_a_seed_nor_an_echo_goes_with_a_resume_token(parameters: dict[str, Any], message: str) -> None:
    request = pb.GenerateRequest(resume_token=b"token", parameters=pb.GenerationParameters(**parameters))
    with pytest.raises(InvalidArgumentError) as caught:
        finished(requests.generation(request, ALPHABET, LIMITS, no_token))
    assert caught.value.message == message


# The protocol's comments.

PROTO = (Path(nextchar.v1.__path__[0]) / "generation.proto").read_text(encoding="utf-8")


def comment(field: str) -> str:
    """Returns the comment above ``field`` of GenerationParameters, as one line."""
    message = PROTO[PROTO.index("message GenerationParameters") :]
    found = re.search(rf"((?: *//.*\n)+) *(?:optional |repeated )?\S+(?: \S+)? {field} = \d+;", message)
    assert found is not None
    return " ".join(line.strip().removeprefix("//").strip() for line in found[1].splitlines())


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("max_characters", f"Default: {requests.DEFAULT_MAX_CHARACTERS}, "),
        ("temperature", f" 0 to {requests.MAX_TEMPERATURE:g}; "),
        ("stop_sequences", f" At most {texts.MAX_STOP_SEQUENCES}, "),
        ("stop_sequences", f" each of 1 to {texts.MAX_STOP_SEQUENCE_CHARACTERS} characters."),
        ("top_logprobs", f" 0 to {requests.MAX_TOP_LOGPROBS}."),
        ("character_bias", f" -{texts.MAX_BIAS:g} to {texts.MAX_BIAS:g}, in nats."),
    ],
)
def test_the_comments_of_the_protocol_state_the_limits_of_the_server(field: str, said: str) -> None:
    assert said in comment(field)


@pytest.mark.parametrize("stand_in", ["\ufffe", "\uffff"])
def test_alternatives_of_an_alphabet_that_has_a_stand_in_are_refused(stand_in: str) -> None:
    alphabet = Alphabet(("a", stand_in))
    for kind in (pb.GenerateRequest, pb.GenerateStreamRequest):
        request = kind(parameters=pb.GenerationParameters(top_logprobs=1))
        with pytest.raises(InvalidArgumentError, match=r"parameters\.top_logprobs: .* U\+FFFE or U\+FFFF"):
            finished(requests.generation(request, alphabet, LIMITS, no_token))
    with pytest.raises(InvalidArgumentError, match=r"top_logprobs: .* U\+FFFE or U\+FFFF"):
        finished(requests.scoring(pb.ScoreRequest(text="a", top_logprobs=1), alphabet, LIMITS))
    finished(requests.scoring(pb.ScoreRequest(text="a"), alphabet, LIMITS))
