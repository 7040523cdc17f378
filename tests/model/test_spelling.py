"""Spelling: the same as a plain reference, in time in proportion to the text, whatever is left out of it."""

import unicodedata
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nextchar_model import composition
from nextchar_model.alphabet import Alphabet, Kind, Unknown, UnknownCharacterError
from nextchar_model.composition import MAX_MARKS, decompose, decomposed, joins, longest_marks, normalize, text_of

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
POOL = "abxéeßAÅ\u0301\u0323\u0308\u0344\u212b\u0338<≮\u1100\u1161\u11a8가각갂힣\u09c7\u09be\u0f71\u0f73\u0f72😀?\n"
TEXTS = st.text(st.sampled_from(POOL), max_size=30)
ALPHABETS = st.text(st.sampled_from(POOL), min_size=1, max_size=12)


def spelled(alphabet: Alphabet, character: str) -> list[int] | None:
    """Returns the ids of one character by the definition of the kinds."""
    if alphabet.kind == "bytes":
        return [byte + 1 for byte in character.encode()]
    symbols = character if alphabet.kind == "characters" else unicodedata.normalize("NFD", character)
    if any(symbol not in alphabet.symbols for symbol in symbols):
        return None
    return [alphabet.symbols.index(symbol) + 1 for symbol in symbols]


def reference(alphabet: Alphabet, text: str, filler: str) -> tuple[str, list[list[int]]]:
    """Returns the text that is spelled, and the ids of each character, one character at a time."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(filler if spelled(alphabet, character) is None else character for character in text)
    text = unicodedata.normalize("NFC", text)
    kept, dropping = "", False
    for character in text:
        if spelled(alphabet, character) is None:
            kept += "" if filler and joins(filler) else filler
            dropping = True
        elif not (dropping and joins(character)):
            kept += character
            dropping = False
    return kept, [spelled(alphabet, character) or [] for character in kept]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unknown", ["skip", "replace"])
@settings(max_examples=100)
@given(symbols=ALPHABETS, text=TEXTS, data=st.data())
def test_spelling_is_that_of_the_reference(
    kind: Kind, unknown: Unknown, symbols: str, text: str, data: st.DataObject
) -> None:
    alphabet = Alphabet.of(symbols, kind)
    known = sorted(filter(alphabet.knows, unicodedata.normalize("NFC", symbols)))
    filler = data.draw(st.sampled_from(known))
    expected, ids = reference(alphabet, text, filler if unknown == "replace" else "")
    spelling = alphabet.spell(text, unknown=unknown, replacement=filler)
    assert spelling.text == expected == unicodedata.normalize("NFC", expected)
    assert spelling.ids.tolist() == [id_ for one in ids for id_ in one]
    assert spelling.lengths.tolist() == list(map(len, ids))
    assert all(alphabet.spelled(character) == spelled(alphabet, character) for character in text)


@pytest.mark.parametrize("kind", ["characters", "jamo"])
@given(symbols=ALPHABETS, text=TEXTS)
def test_the_first_unknown_character_is_named(kind: Kind, symbols: str, text: str) -> None:
    alphabet = Alphabet.of(symbols, kind)
    composed = unicodedata.normalize("NFC", text)
    unknown = [n for n, character in enumerate(composed) if spelled(alphabet, character) is None]
    assume(unknown)
    with pytest.raises(UnknownCharacterError) as caught:
        alphabet.spell(text)
    assert (caught.value.character, caught.value.offset) == (composed[unknown[0]], unknown[0])


@given(text=st.text())
def test_every_text_has_its_normal_forms(text: str) -> None:
    assert normalize(text) == unicodedata.normalize("NFC", text)
    assert decompose(text) == unicodedata.normalize("NFD", text)


@settings(max_examples=60)
@given(text=st.text(st.sampled_from("e\u0301\u0323\u0344\u0f73\u0f72\u0f71\u1100\u1161ạ\u0345"), min_size=32))
def test_long_runs_of_marks_have_their_normal_forms(text: str) -> None:
    text = f"a{text}" + "\u0301\u0323" * 20
    assert longest_marks(text) > MAX_MARKS
    assert normalize(text) == unicodedata.normalize("NFC", text)
    assert decompose(text) == unicodedata.normalize("NFD", text)


@given(text=st.text())
def test_each_code_point_is_decomposed_by_itself(text: str) -> None:
    parts, lengths = decomposed(composition.code_points(text))
    expected = [unicodedata.normalize("NFD", one) for one in text]
    assert text_of(parts) == "".join(expected)
    assert lengths.tolist() == list(map(len, expected))


def test_all_of_unicode_is_decomposed_as_python_does() -> None:
    codes = np.arange(0x110000, dtype=np.uint32)
    parts, lengths = decomposed(codes)
    assert text_of(parts) == "".join(unicodedata.normalize("NFD", chr(code)) for code in range(0x110000))
    assert int(lengths.sum()) == len(parts)


HARD = {
    "initials, a character, vowels": "\u1100" * 3000 + "x" + "\u1161" * 3000,
    "initials, a character, vowels and finals": "\u1100" * 3000 + "x" + "\u1161\u11a8" * 3000,
    "bases, a character, marks": "e" * 3000 + "x" + "\u0301" * 3000,
    "marks after every unknown character": "e" + "x\u0301" * 3000,
    "runs of marks that meet": "e" + ("\u0301" * 30 + "x" + "\u0323" * 30) * 100,
    "marks in the wrong order": "e" + "\u0301" * 3000 + "\u0323" * 3000,
}


@pytest.mark.parametrize("text", HARD.values(), ids=HARD)
@pytest.mark.parametrize("unknown", ["skip", "replace"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("symbols", ["e\u0301\u0323\u1100\u1161\u11a8", "eé\u0301\u1100\u1161가"])
def test_a_text_is_looked_up_three_times_at_most_and_composed_twice(
    kind: Kind, unknown: Unknown, symbols: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An alphabet of the marks alone, because a text of them would be composed.
    alphabet = Alphabet.of(symbols, kind) if kind != "characters" else Alphabet(tuple(sorted(symbols)))
    passes = {"look": 0, "compose": 0}
    look_up = Alphabet._look_up
    nfc = unicodedata.normalize

    def counted(self: Alphabet, one: str) -> object:
        passes["look"] += len(one) > 1
        return look_up(self, one)

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(unicodedata, name)

        def normalize(self, form: Literal["NFC", "NFD"], one: str) -> str:
            passes["compose"] += len(one) > 1
            return nfc(form, one)

    monkeypatch.setattr(Alphabet, "_look_up", counted)
    monkeypatch.setattr(composition, "unicodedata", Counting())
    spelling = alphabet.spell(text, unknown=unknown, replacement="e")
    assert passes["look"] <= 3
    assert passes["compose"] <= 2
    assert unicodedata.is_normalized("NFC", spelling.text)
    assert (spelling.ids > 0).all()


@given(marks=st.lists(st.integers(0, 31), max_size=8))
def test_no_long_run_of_marks_reaches_the_quadratic_sort(marks: list[int]) -> None:
    text = "".join("e" + "\u0301" * count for count in [*marks, 40])
    assert longest_marks(composition._sorted(text)) == 40
    assert all(
        unicodedata.combining(before) <= unicodedata.combining(after) or not unicodedata.combining(after)
        for before, after in zip(*[composition._sorted(text + "\u0323" * 9)[start:] for start in (0, 1)], strict=False)
    )
