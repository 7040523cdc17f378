"""Sets of code points: those that ``re`` matches, of all code points."""

import re
from re import _constants as sre

import pytest

from nextchar_model.constraints.charset import charset, complement, contains, union
from nextchar_model.constraints.syntax import parse

EVERYTHING = "".join(map(chr, range(0x110000)))

ELEMENTS = [
    *(
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        ".",
        "a",
        "[^a]",
        "[a-z]",
        r"[^\W\d_]",
        "[가-힣]",
        r"[\u0000-\U0010ffff]",
    ),
    *("(?i)k", "(?i)[a-z]", "(?i)[^k]", "(?i)ß", "(?i)[ſ-ω]", "(?i)σ", r"(?i)\w", "(?i)\U00010400", "(?i)[\U00010400]"),
    *("(?i)[\U00010400-\U00010410]", "(?i)[^\U00010400-\U00010410]", "(?i)İ", "(?i)[ı-Ķ]", "(?ai)k", "(?ai)[a-k]"),
    *("(?s).", r"(?a)\w", r"(?a)[^\d]", r"(?a)\S", "(?i)[^\\W]"),
]


@pytest.mark.parametrize("pattern", ELEMENTS)
def test_a_set_has_the_code_points_that_re_matches(pattern: str) -> None:
    tree, flags = parse(pattern)
    ((op, value),) = tree
    expected = tuple((match.start(), match.end() - 1) for match in re.finditer(f"{pattern}+", EVERYTHING))
    assert charset(op, value, flags) == expected


def test_sets_are_complemented_and_searched() -> None:
    ranges = union([(5, 7), (0, 1), (8, 9)])
    assert ranges == ((0, 1), (5, 9))
    assert complement(ranges) == ((2, 4), (10, 0x10FFFF))
    assert complement(complement(ranges)) == ranges
    assert complement(()) == ((0, 0x10FFFF),)
    assert [code for code in range(12) if contains(ranges, code)] == [0, 1, 5, 6, 7, 8, 9]


def test_every_element_is_one_operation_of_the_parser() -> None:
    assert {parse(pattern)[0][0][0] for pattern in ELEMENTS} <= {sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN}
