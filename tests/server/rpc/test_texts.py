"""Texts are composed in steps of bounded size, with the result of composing them whole."""

import functools
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar.v1 import generation_pb2 as pb
from nextchar_model import composition
from nextchar_model.alphabet import Alphabet
from nextchar_server.catalog import Limits
from nextchar_server.rpc import requests, texts
from tests.support.asking import ALPHABET, finished, generation, refusal

# Code points that compose, decompose or change places, in every way that there is.
JOINING = st.sampled_from(
    "aeé가각각ᆩ\u0300\u0301\u0315\u0323\u0345Ωᾂ\u0b47\u0b3e\u0b57\u0cc6\u0cc2\u0cd5\u0ccb\U0002f800\U0001d15e"
)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_PIECE", 3)


@given(st.lists(JOINING | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join))
@pytest.mark.usefixtures("small_pieces")
def test_pieces_compose_to_the_composed_text(text: str) -> None:
    assert finished(texts.composed(text, "prompt", 200)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "text",
    ["\u1fb2" * 30_000, "\u1100\u1161\u11a8" * 30_000, "\u1161" * 60_000, "\u1161\u11a8" * 30_000, "é" * 60_000],
    ids=["Greek", "Hangul", "vowels", "vowels and finals", "Latin"],
)
def test_a_long_text_is_composed_in_pieces(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0
    normalize = composition.normalize

    def observed(piece: str) -> str:
        nonlocal longest
        longest = max(longest, len(piece))
        return normalize(piece)

    monkeypatch.setattr(texts, "normalize", observed)
    decomposed = unicodedata.normalize("NFD", text)
    assert finished(texts.composed(decomposed, "prompt", 65_536)) == unicodedata.normalize("NFC", text)
    assert longest < 4200


def test_a_text_that_joins_without_end_is_refused() -> None:
    with pytest.raises(Exception, match="joined code points"):
        finished(texts.composed("\u0cc6" + "\u0cc2" * 10_000, "prompt", 65_536))


def test_a_text_that_is_far_too_long_is_not_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(texts, "normalize")
    assert finished(texts.composed("é" * 1_000_000, "prompt", 1000)) is None


def test_composing_stops_at_the_first_character_too_many() -> None:
    steps = texts.composed("é" * 20_000, "prompt", 5000)
    assert sum(1 for _ in steps) == 2  # of 5


def test_a_bias_of_more_characters_than_the_alphabet_has_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(texts, "_symbol_id")
    field, message = refusal(lambda: generation(character_bias={chr(0x4E00 + n): 1.0 for n in range(1000)}))
    assert field == "parameters.character_bias"
    assert message == f"1000 characters; the model's alphabet has {len(ALPHABET.symbols)} symbols"


def test_a_bias_of_a_large_alphabet_is_read_in_steps() -> None:
    alphabet = Alphabet.of("".join(chr(0x4E00 + n) for n in range(3000)))
    parameters = pb.GenerationParameters(character_bias=dict.fromkeys(alphabet.symbols, 1.0))
    assert sum(1 for _ in texts.bias(parameters, alphabet)) > 10


def test_what_is_cheap_to_check_is_checked_before_the_prompt_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(texts, "normalize")
    refused: list[dict[str, Any]] = [{"temperature": -1.0}, {"top_logprobs": 99}, {"stop_sequences": ["a"] * 17}]
    for parameters in refused:
        refusal(functools.partial(generation, "é" * 50, **parameters))


def test_no_form_of_a_character_is_longer_than_the_limits_assume() -> None:
    characters = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    forms = [unicodedata.normalize("NFD", one) for one in characters if unicodedata.is_normalized("NFC", one)]
    assert max(map(len, forms)) == texts.CODE_POINTS
    assert max(len(form.encode()) for form in forms) == texts.BYTES


def test_the_largest_valid_request_is_below_the_size_that_is_received() -> None:
    limits = Limits(max_characters=100_000, max_prompt_characters=1_000_000)
    alphabet = Alphabet.of("".join(chr(0xAC00 + n) for n in range(11_172)))
    hangul = [unicodedata.normalize("NFD", symbol) for symbol in alphabet.symbols]
    request = pb.GenerateRequest(
        model="m" * 1000,
        prompt=hangul[1] * limits.max_prompt_characters,
        parameters=pb.GenerationParameters(
            stop_sequences=[hangul[1] * texts.MAX_STOP_SEQUENCE_CHARACTERS] * texts.MAX_STOP_SEQUENCES,
            character_bias=dict.fromkeys(hangul, 1.0),
        ),
    )
    assert request.ByteSize() <= requests.most_bytes(limits, len(alphabet.symbols))


def test_a_mebibyte_is_received_whatever_the_limits_are() -> None:
    assert requests.most_bytes(Limits(max_characters=1, max_prompt_characters=1), 1) == 2**20
