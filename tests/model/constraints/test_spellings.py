"""Expressions over jamo, bytes and marks: the automaton accepts the spellings of the matching texts, and no others."""

import re
import unicodedata
from itertools import product

import pytest

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.work import ConstraintError
from nextchar_model.decoder import decode
from tests.support.automata import accepts, texts

PATTERNS = [
    ".*",
    "[가-힣]+",
    "가.?",
    "[^각]*",
    "(가|각|ee?)*",
    "é+|가{2}",
    r"\w{1,2}",
    "e.|각",
    "[ea].*[é가]",
    "가각|가가",
]
CHARACTERS = "aáeé가각나낙"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_jamo_spell_the_matching_texts_and_no_others(pattern: str) -> None:
    alphabet = Alphabet.of(CHARACTERS, "jamo")
    expected = {
        tuple(alphabet.encode("".join(one)).tolist())
        for count in range(4)
        for one in product(CHARACTERS, repeat=count)
        if re.fullmatch(pattern, "".join(one))
    }
    automaton = compile_regex(pattern, alphabet)
    assert texts(automaton, alphabet, 3) == expected


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bytes_spell_the_matching_texts(pattern: str) -> None:
    alphabet = Alphabet.of("", "bytes")
    automaton = compile_regex(pattern, alphabet)
    for text in ("".join(one) for count in range(4) for one in product(CHARACTERS + "\n😀", repeat=count)):
        assert accepts(automaton, alphabet.encode(text).tolist()) == bool(re.fullmatch(pattern, text))


def test_all_texts_of_bytes_that_an_automaton_accepts_match() -> None:
    pattern, alphabet = "[x-\u07ffé\ud7ff-\ue001\uffff-\U00010001]", Alphabet.of("", "bytes")
    found = {decode(alphabet, ids) for ids in texts(compile_regex(pattern, alphabet), alphabet, 1)}
    matching = {chr(code) for code in range(0x110000) if re.fullmatch(pattern, chr(code))}
    expected = {one for one in matching if not "\ud800" <= one <= "\udfff" and unicodedata.normalize("NFC", one) == one}
    assert found <= expected
    assert all(
        unicodedata.combining(one) or len(unicodedata.normalize("NFC", "e" + one)) == 1 for one in expected - found
    )
    assert len(found) > 1600


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_marks_that_an_expression_names_are_written_in_order(kind: Kind) -> None:
    symbols = "กข\u0e38\u0e48"  # U+0E38 has a lower combining class than U+0E48
    alphabet = Alphabet.of(symbols, kind)
    found = {decode(alphabet, ids) for ids in texts(compile_regex(f"[{symbols}]+", alphabet), alphabet, 4)}
    every = {"".join(one) for count in range(1, 5) for one in product(symbols, repeat=count)}
    assert found == {text for text in every if unicodedata.is_normalized("NFC", text)}


def test_bytes_never_write_a_mark_that_composes() -> None:
    alphabet = Alphabet.of("", "bytes")
    found = {decode(alphabet, ids) for ids in texts(compile_regex("[eqé\u0301\u0323가]+", alphabet), alphabet, 3)}
    assert {"q\u0301", "q\u0323\u0301", "éq", "가q\u0323"} <= found
    assert all(re.fullmatch("[eqé\u0301\u0323가]+", text) for text in found)


def test_characters_with_marks_are_in_nfc_and_match() -> None:
    alphabet = Alphabet.of("ก\u0e38\u0e48xq\u0301e\u0323", "characters")
    found = {decode(alphabet, ids) for ids in texts(compile_regex(".*", alphabet), alphabet, 3)}
    assert all(unicodedata.is_normalized("NFC", text) for text in found)
    assert {"ก\u0e38\u0e48", "q\u0301x", "xx", ""} <= found


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_a_pattern_that_is_not_in_nfc_matches_no_text(kind: Kind) -> None:
    with pytest.raises(ConstraintError, match="no text"):
        compile_regex("e\u0301", Alphabet.of("aé", kind))


@pytest.mark.parametrize(
    ("pattern", "lacks"),
    [("[0-9]{3}", "all characters like '0'"), ("aé*b", "'b'"), ("[가-힣]", "all characters like '가'")],
)
def test_an_expression_that_the_alphabet_cannot_write_is_refused_with_the_reason(pattern: str, lacks: str) -> None:
    with pytest.raises(ConstraintError, match=f"its alphabet lacks {lacks}"):
        compile_regex(pattern, Alphabet.of("ace"))
