"""Texts in requests: prompts, stop sequences and keys of a bias are composed, checked and limited."""

import unicodedata
from collections.abc import Callable

import numpy as np
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.catalog import Limits
from nextchar_server.rpc import requests
from tests.support.asking import ALPHABET, finished, generation, no_token, refusal, scoring

NAN, INFINITY = float("nan"), float("inf")

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
    assert refusal(lambda: generation("a" * 51)) == (
        "prompt",
        "51 code points; this server accepts at most 50 characters",
    )


def test_unknown_characters_are_left_out_if_asked_for() -> None:
    asked = generation("azbz", unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP)
    assert asked.prompt.ids.tolist() == ALPHABET.encode("ab").tolist()


def test_unknown_characters_are_replaced_if_asked_for() -> None:
    asked = generation("azbz", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character="?")
    assert asked.prompt.ids.tolist() == ALPHABET.encode("a?b?").tolist()


def test_a_long_run_of_marks_is_refused_if_it_arises_from_skipping() -> None:
    marked = Alphabet.of("b\u0301", "jamo")
    parameters = pb.GenerationParameters(unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP)
    prompt = "b" + "\u0301" * 20 + "z" + "\u0301" * 20
    request = pb.GenerateRequest(prompt=prompt, parameters=parameters)
    field, description = refusal(lambda: finished(requests.generation(request, marked, Limits(10, 50), no_token)))
    assert field == "prompt"
    assert description == "more than 30 combining marks in a row once unknown characters are gone"


@pytest.mark.parametrize("unknown", [pb.UNKNOWN_CHARACTERS_UNSPECIFIED, pb.UNKNOWN_CHARACTERS_ERROR])
def test_unknown_characters_are_refused_if_asked_for(unknown: int) -> None:
    assert refusal(lambda: generation("z", unknown_characters=unknown))[0] == "prompt"


def test_an_unknown_value_for_unknown_characters_is_refused() -> None:
    assert refusal(lambda: generation(unknown_characters=99)) == (
        "parameters.unknown_characters",
        "99 is not a value of UnknownCharacters",
    )


@pytest.mark.parametrize("replacement", ["z", "ab"])
def test_replacing_needs_one_character_of_the_alphabet(replacement: str) -> None:
    field, description = refusal(
        lambda: generation("a", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character=replacement)
    )
    assert field == "parameters.replacement_character"
    assert description == f"{replacement!r} is not one character of the model's alphabet"


@pytest.mark.parametrize("replacement", [None, ""])
def test_replacing_needs_a_replacement(replacement: str | None) -> None:
    asked = lambda: generation("a", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character=replacement)  # noqa: E731
    assert refusal(asked) == ("parameters.replacement_character", "is required with UNKNOWN_CHARACTERS_REPLACE")


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
        "0 code points; it must have 1 to 256 characters",
    )


def test_the_longest_stop_sequence_is_taken_and_a_longer_one_refused() -> None:
    generation(stop_sequences=["a" * 256])
    assert (
        refusal(lambda: generation(stop_sequences=["a" * 257]))[1]
        == "257 code points; it must have 1 to 256 characters"
    )


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
    field, message = refusal(lambda: finished(requests.generation(whole, ALPHABET, limits, no_token)))
    assert field == "parameters.top_logprobs"
    assert message.startswith("20000 characters with 20 alternatives each are more than the 250000")
    assert finished(requests.generation(stream, ALPHABET, limits, no_token)).top_logprobs == 20
    long = pb.ScoreRequest(text="a" * 65_536, top_logprobs=20)
    assert refusal(lambda: finished(requests.scoring(long, ALPHABET, limits)))[0] == "top_logprobs"
