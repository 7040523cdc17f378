"""Sets of code points: those that one element of a regular expression matches, exactly as ``re`` sees it.

A set is a sorted tuple of ranges that neither overlap nor touch. Categories come from ``re`` itself, which is asked
once about every code point. Without regard to case, ``re`` is asked about the code points that have a case.
"""

from __future__ import annotations

import re
import re._compiler as sre_compiler  # type: ignore[import-not-found]
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

Ranges = tuple[tuple[int, int], ...]
"""First and last code point of each range."""

LAST = 0x10FFFF
ALL: Ranges = ((0, LAST),)
NEWLINE: Ranges = ((10, 10),)

_CATEGORIES = {  # and whether it is the opposite
    sre.CATEGORY_DIGIT: (r"\d", False),
    sre.CATEGORY_NOT_DIGIT: (r"\d", True),
    sre.CATEGORY_SPACE: (r"\s", False),
    sre.CATEGORY_NOT_SPACE: (r"\s", True),
    sre.CATEGORY_WORD: (r"\w", False),
    sre.CATEGORY_NOT_WORD: (r"\w", True),
}
_BLOCK = 2**12  # code points that are looked at before another thread may have the interpreter
_TYPE_FLAGS = sre.SRE_FLAG_ASCII | sre.SRE_FLAG_UNICODE


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Returns the set of the code points of ``ranges``, in any order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Returns the code points that ``ranges`` lacks."""
    gaps = zip([0, *(high + 1 for _, high in ranges)], [*(low - 1 for low, _ in ranges), LAST], strict=True)
    return tuple((low, high) for low, high in gaps if low <= high)


def contains(ranges: Ranges, code: int) -> bool:
    """Whether ``code`` is in the set."""
    place = bisect_right(ranges, (code, LAST + 1)) - 1
    return place >= 0 and ranges[place][1] >= code


def charset(op: Any, value: Any, flags: int) -> Ranges:
    """Returns the set of the parsed element (``op``, ``value``) under ``flags``."""
    plain = _plain(op, value, flags)
    if not flags & sre.SRE_FLAG_IGNORECASE or op is sre.ANY:
        return plain
    cased, text = _cased()
    matches = _compiled(op, value, flags).finditer(text)
    asked = union((code, code) for match in matches for code in map(ord, match.group()))
    outside = complement(union([*complement(plain), *cased]))  # plain without those that have a case
    return union([*outside, *asked])


def _plain(op: Any, value: Any, flags: int) -> Ranges:
    if op is sre.LITERAL:
        return ((value, value),)
    if op is sre.NOT_LITERAL:
        return complement(((value, value),))
    if op is sre.ANY:
        return ALL if flags & sre.SRE_FLAG_DOTALL else complement(NEWLINE)
    ranges: list[tuple[int, int]] = []
    negated = False
    for item, argument in value:
        if item is sre.NEGATE:
            negated = True
        elif item is sre.LITERAL:
            ranges.append((argument, argument))
        elif item is sre.RANGE:
            ranges.append(argument)
        else:
            pattern, is_opposite = _CATEGORIES[argument]
            members = category(pattern, is_ascii=bool(flags & sre.SRE_FLAG_ASCII))
            ranges += complement(members) if is_opposite else members
    found = union(ranges)
    return complement(found) if negated else found


@cache
def category(pattern: str, *, is_ascii: bool) -> Ranges:
    """Returns the code points that ``pattern``, one of a category, matches."""
    compiled = re.compile(f"{pattern}+", re.ASCII if is_ascii else 0)
    found: list[tuple[int, int]] = []
    for start in range(0, _BLOCK if is_ascii else LAST + 1, _BLOCK):
        text = _characters(start, _BLOCK)
        found += ((start + match.start(), start + match.end() - 1) for match in compiled.finditer(text))
    return union(found)


def read_properties() -> None:
    """Finds the members of all categories, and the characters that have a case, which are then known."""
    for pattern, _ in _CATEGORIES.values():
        category(pattern, is_ascii=False)
    _cased()


def _characters(start: int, count: int) -> str:
    """Returns the characters from the code point ``start`` on, surrogates among them."""
    return np.arange(start, start + count, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _cased() -> tuple[Ranges, str]:
    """The code points that some other one equals without regard to case, as a set and as a text."""
    codes: set[int] = set()
    blocks = (start for start in range(0, LAST + 1, _BLOCK) if _has_case(_characters(start, _BLOCK)))
    small = (one for start in blocks for one in range(start, start + _BLOCK, 256))
    for block in filter(_has_case, (_characters(start, 256) for start in small)):
        for one in block:
            forms = one.lower() + one.upper() + one.casefold()
            if forms.strip(one):
                codes.update(map(ord, one + forms))
    ranges = union((code, code) for code in codes)
    return ranges, "".join(map(chr, sorted(codes)))


def _has_case(text: str) -> bool:
    return not (text.lower() == text == text.upper() and text.casefold() == text)


def _compiled(op: Any, value: Any, flags: int) -> re.Pattern[str]:
    """Returns the pattern that matches one element."""
    state = sre_parser.State()
    state.flags = flags if flags & _TYPE_FLAGS else flags | sre.SRE_FLAG_UNICODE
    state.str = ""
    compiled: re.Pattern[str] = sre_compiler.compile(sre_parser.SubPattern(state, [(op, value)]), state.flags)
    return compiled
