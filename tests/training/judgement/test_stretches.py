"""Copied stretches, against a reference that looks for every one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.composition import Codes, code_points
from nextchar_training.judgement.characters import END, joined
from nextchar_training.judgement.stretches import LENGTHS, copied

SHORT = st.text("ab\uffff", max_size=40)


def cut(text: str, sizes: list[int]) -> list[Codes]:
    """Returns ``text`` in pieces of these sizes, and the rest."""
    codes = code_points(text)
    return np.split(codes, np.cumsum(sizes).clip(0, len(codes)).tolist())


def stretches(text: str, source: str) -> dict[int, str]:
    """Returns the longest stretch of ``text`` from each place that is in ``source`` and does not hold ``END``."""
    found = {}
    for start in range(len(text)):
        end = start
        while end < len(text) and text[end] != chr(END) and text[start : end + 1] in source:
            end += 1
        found[start] = text[start:end]
    return found


def share(text: str, source: str, length: int) -> float:
    covered: set[int] = set()
    for start, stretch in stretches(text, source).items():
        if len(stretch) >= length:
            covered.update(range(start, start + len(stretch)))
    return len(covered) / max(1, sum(one != chr(END) for one in text))


@given(SHORT, SHORT, st.lists(st.integers(0, 9), max_size=6))
def test_the_longest_stretch_and_all_shares_are_those_of_a_naive_search(
    text: str, source: str, sizes: list[int]
) -> None:
    found = copied(code_points(text), cut(source, sizes))
    longest = max(stretches(text, source).values(), key=len, default="")
    assert (found.longest, found.longest_text) == (len(longest), longest)
    assert found.shares == tuple((length, share(text, source, length)) for length, _ in found.shares)
    assert [length for length, _ in found.shares] == list(LENGTHS[: len(found.shares)])
    assert found.shares[-1][1] == 0


@pytest.mark.parametrize("length", [1, 2, 7, 100, 1023, 1024, 1025, 3000])
def test_a_planted_stretch_of_any_length_is_found_whole(length: int) -> None:
    random = np.random.default_rng(length)
    source = random.integers(ord("가"), ord("힣"), 20_000).astype(np.uint32)
    text = random.integers(ord("a"), ord("z"), 5_000).astype(np.uint32)
    text[1_000 : 1_000 + length] = source[7_000 : 7_000 + length]
    found = copied(text, np.array_split(source, 7))
    assert (found.longest, found.longest_text) == (length, "".join(map(chr, source[7_000 : 7_000 + length])))


def test_a_stretch_does_not_extend_over_the_end_of_a_document() -> None:
    assert copied(joined(["one", "two"]), [joined(["zero one", "two three"])]).longest_text == "one"


def test_a_text_that_a_weak_hash_confuses_is_not_taken_for_a_copy() -> None:
    """Thue-Morse words of 2048 letters collide under any polynomial modulo 2**64."""
    word = "a"
    for _ in range(11):
        word += word.translate(str.maketrans("ab", "ba"))
    other = word.translate(str.maketrans("ab", "ba"))
    found = copied(code_points(f"c{word}c"), [code_points(f"d{other}d")])
    assert found.longest < 2048
    assert found.longest_text in other
