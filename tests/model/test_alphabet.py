"""The alphabet: every text has the same ids everywhere, or an error that names the character."""

import pytest

from nextchar_model.alphabet import BOUNDARY, Alphabet, AlphabetError, UnknownCharacterError
from nextchar_model.decoder import decode


def test_decode_returns_the_encoded_text() -> None:
    text = "Ein Käfer,\n한글 ok."
    alphabet = Alphabet.of(text)
    assert decode(alphabet, alphabet.encode(text)) == text


def test_ids_follow_the_order_of_code_points_after_the_boundary() -> None:
    alphabet = Alphabet.of("cab")
    assert alphabet.symbols == ("a", "b", "c")
    assert alphabet.encode("abc").tolist() == [BOUNDARY + 1, BOUNDARY + 2, BOUNDARY + 3]


def test_size_counts_the_boundary() -> None:
    assert Alphabet.of("abc").size == 4


def test_composed_and_decomposed_text_have_the_same_ids() -> None:
    alphabet = Alphabet.of("é")
    assert alphabet.encode("e\u0301").tolist() == alphabet.encode("\u00e9").tolist()


def test_the_boundary_decodes_to_no_text() -> None:
    alphabet = Alphabet.of("ab")
    assert decode(alphabet, [BOUNDARY, 1, BOUNDARY, 2]) == "ab"
    assert alphabet.symbol(BOUNDARY) == ""


def test_an_unknown_character_is_named_with_its_offset_and_code_point() -> None:
    with pytest.raises(UnknownCharacterError, match=r"'ß' \(U\+00DF\) at offset 2") as caught:
        Alphabet.of("abc").encode("abßc")
    assert (caught.value.character, caught.value.offset) == ("ß", 2)


def test_the_offset_of_an_unknown_character_counts_normalized_characters() -> None:
    with pytest.raises(UnknownCharacterError) as caught:
        Alphabet.of("é").encode("e\u0301e\u0301x")
    assert caught.value.offset == 2


def test_unknown_characters_are_left_out_with_skip() -> None:
    alphabet = Alphabet.of("ab")
    assert decode(alphabet, alphabet.encode("xaybz", unknown="skip")) == "ab"


def test_unknown_characters_are_replaced_with_replace() -> None:
    alphabet = Alphabet.of("ab?")
    assert decode(alphabet, alphabet.encode("axb", unknown="replace", replacement="?")) == "a?b"


def test_empty_text_has_no_ids() -> None:
    assert Alphabet.of("ab").encode("").tolist() == []


def test_characters_beyond_the_basic_plane_are_one_symbol_each() -> None:
    alphabet = Alphabet.of("a😀")
    assert alphabet.encode("😀").tolist() == [2]


@pytest.mark.parametrize("symbols", [(), ("b", "a"), ("a", "a"), ("ab",), ("",)])
def test_symbols_that_do_not_form_an_alphabet_are_refused(symbols: tuple[str, ...]) -> None:
    with pytest.raises(AlphabetError):
        Alphabet(symbols)


def test_an_unknown_kind_of_alphabet_is_refused() -> None:
    with pytest.raises(AlphabetError, match="'runes'"):
        Alphabet(("a",), "runes")  # type: ignore[arg-type]
