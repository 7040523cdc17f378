"""Unicode composition: which code points NFC joins to the ones before them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.composition import decompose, joins, normalize, second_halves


@given(text=st.text())
def test_normalizing_is_nfc_and_decomposing_is_nfd(text: str) -> None:
    assert normalize(text) == unicodedata.normalize("NFC", text)
    assert decompose(text) == unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("code_point", ["\u0301", "\u0323", "\u1161", "\u11a8", "\u093c", "\u0344"])
def test_marks_and_second_halves_join(code_point: str) -> None:
    assert joins(code_point)


@pytest.mark.parametrize("code_point", ["a", "é", " ", "가", "\u1100", "ㅋ", "😀"])
def test_letters_and_syllables_do_not_join(code_point: str) -> None:
    assert not joins(code_point)


@given(before=st.text(min_size=1), code_point=st.characters())
def test_a_code_point_that_does_not_join_leaves_the_text_before_it_unchanged(before: str, code_point: str) -> None:
    if not joins(code_point):
        assert normalize(before + code_point) == normalize(before) + normalize(code_point)


def test_every_composite_ends_with_a_second_half() -> None:
    composites = [chr(code) for code in range(0xC0, 0xFFFF) if unicodedata.normalize("NFC", chr(code)) == chr(code)]
    parted = [unicodedata.decomposition(one).split() for one in composites]
    last = {chr(int(parts[1], 16)) for parts in parted if len(parts) == 2 and not parts[0].startswith("<")}
    assert len(last) > 50
    assert last <= second_halves()
