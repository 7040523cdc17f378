from __future__ import annotations

import numpy as np
import pytest

from nextchar_model.composition import code_points
from nextchar_training.judgement.lines import LONG, LONGEST, compared, lines_of, read_source

SOURCE = "to be\nor not to be, that is the question\n\nto be\uffffexit\n"


def test_the_last_line_of_a_text_counts_only_if_its_document_ended() -> None:
    assert lines_of([("one\ntwo\n\nthr", True), ("four\nfive", False)]) == ["one", "two", "four", "five"]


@pytest.mark.parametrize("pieces", [1, 2, 3, 50])
def test_copied_lines_are_whole_lines_of_the_source_however_it_is_cut(pieces: int) -> None:
    lines = ["to be", "to be", "or not", "exit", "or not to be, that is the question", "x" * LONG]
    source = read_source(np.array_split(code_points(SOURCE), pieces), lines)
    found = compared(lines, source)
    assert (found.count, found.distinct, found.copied, found.long_copied) == (6, 5 / 6, 4 / 6, 1 / 2)
    assert source.lengths[[4, 5, 34]].tolist() == [1, 2, 1]
    assert source.lengths.sum() == 4


def test_lengths_are_compared_by_their_cumulative_distributions() -> None:
    source = read_source([code_points("a\nbb\nccc\ndddd\n")], [])
    found = compared(["a", "bb", "b" * 5, "c" * 5], source)
    assert (found.mean_length, found.quantiles) == (3.25, (1, 2, 5))
    assert found.distance == 0.5
    assert found.lengths == (0, 1, 1, 0, 0, 2)


def test_longer_lines_than_the_longest_count_as_the_longest() -> None:
    source = read_source([code_points("a" * (LONGEST + 7))], [])
    assert source.lengths[LONGEST] == 1
    assert compared(["a" * (LONGEST + 1)], source).distance == 0


def test_a_text_without_a_whole_line_is_compared_too() -> None:
    found = compared([], read_source([code_points("a\n")], []))
    assert (found.count, found.distinct, found.copied, found.quantiles) == (0, 0.0, 0.0, (0, 0, 0))
