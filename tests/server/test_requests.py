"""Requests: an invalid field is named before anything runs; an absent one has its default."""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

import nextchar.v1
from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.catalog import Limits
from nextchar_server.rpc import requests
from nextchar_server.rpc.errors import InvalidArgumentError, NotServedError
from nextchar_server.rpc.requests import Generation, Scoring

ALPHABET = Alphabet.of("\n ?abcdé가나")
LIMITS = Limits(max_characters=1000, max_prompt_characters=50)
NAN, INFINITY = float("nan"), float("inf")


def generation(prompt: str = "", limits: Limits = LIMITS, **parameters: Any) -> Generation:
    """Reads a request with ``parameters``."""
    request = pb.GenerateStreamRequest(prompt=prompt, parameters=pb.GenerationParameters(**parameters))
    return requests.generation(request, ALPHABET, limits)


def scoring(text: str, **fields: Any) -> Scoring:
    """Reads a request to score ``text``."""
    return requests.scoring(pb.ScoreRequest(text=text, **fields), ALPHABET, LIMITS)


def refusal(ask: Callable[[], object]) -> tuple[str, str]:
    """Returns the field and the message with which ``ask`` is refused."""
    with pytest.raises(InvalidArgumentError) as caught:
        ask()
    (detail,) = caught.value.details
    (violation,) = detail.field_violations  # type: ignore[attr-defined]
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert violation.field == caught.value.field
    assert caught.value.message == f"{violation.field}: {violation.description}"
    return violation.field, violation.description


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
    assert requests.generation(kind(), ALPHABET, LIMITS).max_characters == 256


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


# Prompt and unknown characters.


def test_an_unknown_character_is_refused_with_its_offset_and_code_point() -> None:
    field, description = refusal(lambda: generation("ab가zc"))
    assert field == "prompt"
    assert description == "character 'z' (U+007A) at offset 3 is not in the model's alphabet"


def test_offsets_are_in_composed_characters() -> None:
    _, description = refusal(lambda: generation(unicodedata.normalize("NFD", "é가") + "z"))
    assert "at offset 2" in description


def test_a_character_beyond_the_basic_plane_has_its_code_point() -> None:
    assert "(U+1F600) at offset 1" in refusal(lambda: generation("a😀"))[1]


def test_a_decomposed_prompt_is_composed() -> None:
    assert generation(unicodedata.normalize("NFD", "é가")).prompt.ids.tolist() == ALPHABET.encode("é가").tolist()


def test_a_prompt_may_be_as_long_as_the_limit_in_composed_characters() -> None:
    assert len(generation(unicodedata.normalize("NFD", "가" * 50)).prompt.text) == 50


def test_a_prompt_that_is_too_long_is_refused() -> None:
    assert refusal(lambda: generation("a" * 51)) == ("prompt", "51 characters; this server accepts at most 50")


def test_unknown_characters_are_left_out_if_asked_for() -> None:
    asked = generation("azbz", unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP)
    assert asked.prompt.ids.tolist() == ALPHABET.encode("ab").tolist()


def test_unknown_characters_are_replaced_if_asked_for() -> None:
    asked = generation("azbz", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character="?")
    assert asked.prompt.ids.tolist() == ALPHABET.encode("a?b?").tolist()


@pytest.mark.parametrize("unknown", [pb.UNKNOWN_CHARACTERS_UNSPECIFIED, pb.UNKNOWN_CHARACTERS_ERROR])
def test_unknown_characters_are_refused_if_asked_for(unknown: int) -> None:
    assert refusal(lambda: generation("z", unknown_characters=unknown))[0] == "prompt"


def test_an_unknown_value_for_unknown_characters_is_refused() -> None:
    assert refusal(lambda: generation(unknown_characters=99)) == (
        "parameters.unknown_characters",
        "99 is not a value of UnknownCharacters",
    )


@pytest.mark.parametrize("replacement", [None, "", "z", "ab"])
def test_replacing_needs_one_character_of_the_alphabet(replacement: str | None) -> None:
    field, description = refusal(
        lambda: generation("a", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character=replacement)
    )
    assert field == "parameters.replacement_character"
    assert description == f"{replacement or ''!r} is not one character of the model's alphabet"


def test_a_decomposed_replacement_is_composed() -> None:
    asked = generation(
        "z",
        unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE,
        replacement_character=unicodedata.normalize("NFD", "가"),
    )
    assert asked.prompt.ids.tolist() == ALPHABET.encode("가").tolist()


@pytest.mark.parametrize("unknown", [None, pb.UNKNOWN_CHARACTERS_ERROR, pb.UNKNOWN_CHARACTERS_SKIP])
def test_a_replacement_without_replacing_is_refused(unknown: int | None) -> None:
    asked = lambda: generation("a", unknown_characters=unknown, replacement_character="?")  # noqa: E731
    assert refusal(asked) == ("parameters.replacement_character", "only goes with UNKNOWN_CHARACTERS_REPLACE")


# Stop sequences.


def test_an_empty_stop_sequence_is_refused_with_its_place() -> None:
    assert refusal(lambda: generation(stop_sequences=["a", ""])) == (
        "parameters.stop_sequences[1]",
        "0 characters; it must be 1 to 256",
    )


def test_the_longest_stop_sequence_is_taken_and_a_longer_one_refused() -> None:
    generation(stop_sequences=["a" * 256])
    assert refusal(lambda: generation(stop_sequences=["a" * 257]))[1] == "257 characters; it must be 1 to 256"


def test_the_most_stop_sequences_are_taken_and_one_more_refused() -> None:
    generation(stop_sequences=["a"] * 16)
    assert refusal(lambda: generation(stop_sequences=["a"] * 17)) == (
        "parameters.stop_sequences",
        "17 stop sequences; at most 16 are allowed",
    )


def test_a_stop_sequence_that_can_never_appear_is_refused() -> None:
    field, description = refusal(lambda: generation(stop_sequences=["a", "bz"]))
    assert field == "parameters.stop_sequences[1]"
    assert description.startswith("can never appear: character 'z' (U+007A) at offset 1")


def test_a_decomposed_stop_sequence_is_composed() -> None:
    assert generation(stop_sequences=[unicodedata.normalize("NFD", "가나")]).stop_sequences == ("가나",)


# Character bias.


def test_a_bias_lands_on_the_id_of_its_character() -> None:
    bias = generation(character_bias={"b": 2.5, unicodedata.normalize("NFD", "가"): -100.0}).settings.bias
    assert bias is not None
    assert bias.dtype == np.float32
    expected = np.zeros(ALPHABET.size)
    expected[ALPHABET.encode("b")] = 2.5
    expected[ALPHABET.encode("가")] = -100.0
    assert bias.tolist() == expected.tolist()


def test_a_bias_given_twice_in_two_normalization_forms_is_refused() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    assert refusal(lambda: generation(character_bias={"é": 1.0, decomposed: 2.0})) == (
        f"parameters.character_bias[{decomposed!r}]",
        "is the same character as 'é', which also has a bias",
    )


@pytest.mark.parametrize("key", ["", "z", "ab"])
def test_a_bias_of_anything_but_a_character_is_refused(key: str) -> None:
    assert refusal(lambda: generation(character_bias={key: 1.0})) == (
        f"parameters.character_bias[{key!r}]",
        "the key is not one character of the model's alphabet",
    )


@pytest.mark.parametrize(("value", "named"), [(100.5, "100.5"), (-101.0, "-101"), (NAN, "nan"), (INFINITY, "inf")])
def test_a_bias_out_of_its_range_is_refused(value: float, named: str) -> None:
    assert refusal(lambda: generation(character_bias={"a": value})) == (
        "parameters.character_bias['a']",
        f"{named} is not between -100 and 100",
    )


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


# Features that this version does not serve.


@pytest.mark.parametrize("regex", ["", "[a-z]+"])
def test_a_regex_is_not_served(regex: str) -> None:
    with pytest.raises(NotServedError, match=r"parameters\.regex is not served by this version") as caught:
        generation(regex=regex)
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("token", [b"", b"token"])
def test_a_resume_token_is_not_served(token: bytes) -> None:
    with pytest.raises(NotServedError, match="resume_token is not served by this version"):
        requests.generation(pb.GenerateStreamRequest(resume_token=token), ALPHABET, LIMITS)


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
        ("stop_sequences", f" At most {requests.MAX_STOP_SEQUENCES}, "),
        ("stop_sequences", f" each of 1 to {requests.MAX_STOP_SEQUENCE_CHARACTERS} characters."),
        ("top_logprobs", f" 0 to {requests.MAX_TOP_LOGPROBS}."),
        ("character_bias", f" -{requests.MAX_BIAS:g} to {requests.MAX_BIAS:g}, in nats."),
    ],
)
def test_the_comments_of_the_protocol_state_the_limits_of_the_server(field: str, said: str) -> None:
    assert said in comment(field)


# Requests of an attacker.


@pytest.mark.parametrize(
    ("field", "ask"),
    [
        ("prompt", lambda text: generation(text)),
        ("parameters.stop_sequences[0]", lambda text: generation(stop_sequences=[text])),
        ("text", lambda text: scoring(text)),
    ],
)
def test_a_long_run_of_combining_marks_is_refused_before_it_is_composed(
    field: str, ask: Callable[[str], object]
) -> None:
    named, message = refusal(lambda: ask("a" + "\u0315" * 16 + "\u0300" * 15))
    assert named == field
    assert message == "more than 30 combining marks in a row, at code point 31"


def test_an_error_quotes_little() -> None:
    for ask in (
        lambda: generation(character_bias={"€" * 100_000: 1.0}),
        lambda: generation(unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character="€" * 100_000),
    ):
        field, message = refusal(ask)
        assert len(field) + len(message) < 200


def test_an_answer_too_large_for_clients_is_refused() -> None:
    limits = Limits(max_characters=100_000, max_prompt_characters=65_536)
    parameters = pb.GenerationParameters(max_characters=20_000, top_logprobs=20)
    whole, stream = pb.GenerateRequest(parameters=parameters), pb.GenerateStreamRequest(parameters=parameters)
    field, message = refusal(lambda: requests.generation(whole, ALPHABET, limits))
    assert field == "parameters.top_logprobs"
    assert message.startswith("20000 characters with 20 alternatives each are more than the 250000")
    assert requests.generation(stream, ALPHABET, limits).top_logprobs == 20
    long = pb.ScoreRequest(text="a" * 65_536, top_logprobs=20)
    assert refusal(lambda: requests.scoring(long, ALPHABET, limits))[0] == "top_logprobs"
