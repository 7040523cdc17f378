from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.composition import code_points
from nextchar_training.judgement.characters import END
from nextchar_training.judgement.grams import ORDERS, distances, frequencies

TEXT = st.text("ab가\uffff", min_size=3, max_size=30)


def shares(text: str, order: int) -> dict[str, float]:
    windows = [text[start : start + order] for start in range(len(text) - order + 1)]
    counts = Counter(window for window in windows if chr(END) not in window)
    return {window: count / counts.total() for window, count in counts.items()}


@given(TEXT, TEXT, st.integers(0, 5))
def test_distances_are_those_of_the_definitions_however_the_source_is_cut(text: str, source: str, cut: int) -> None:
    pieces = [code_points(source[:cut]), code_points(source[cut:])]
    (found,) = distances([code_points(text)], pieces)
    for order, distance in zip(ORDERS, found, strict=True):
        p, q = shares(text, order), shares(source, order)
        if not p or not q:
            continue
        keys = p.keys() | q.keys()
        variation = sum(abs(p.get(key, 0) - q.get(key, 0)) for key in keys) / 2
        divergence = 0.0
        for one in (p, q):
            for key, share in one.items():
                divergence += share * math.log2(share / ((p.get(key, 0) + q.get(key, 0)) / 2)) / 2
        assert distance.total_variation == pytest.approx(variation, abs=1e-12)
        assert distance.divergence == pytest.approx(divergence, abs=1e-12)


def test_equal_texts_are_at_distance_zero_and_disjoint_ones_at_one() -> None:
    same, other = distances([code_points("abcabc"), code_points("xyz")], [code_points("abcabc")])
    assert [figure for one in same for figure in (one.total_variation, one.divergence)] == pytest.approx([0.0] * 6)
    assert [figure for one in other for figure in (one.total_variation, one.divergence)] == pytest.approx([1.0] * 6)


def test_frequencies_are_shares_of_the_characters_the_most_frequent_first() -> None:
    found = frequencies([code_points("ab\uffff"), np.empty(0, np.uint32), code_points("b가")])
    assert list(found.items()) == [("b", 0.5), ("a", 0.25), ("가", 0.25)]
