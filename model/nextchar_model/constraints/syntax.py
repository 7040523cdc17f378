"""The syntax of regular expressions: Python's own parser, and the refusals of irregular constructs.

First stage of the compiler. ``re`` parses the expression, so its syntax is that of ``re``. Constructs that no
finite automaton has are refused here with their names and places.
"""

from __future__ import annotations

import re
import re._parser as sre_parser  # type: ignore[import-not-found]
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from .work import ConstraintError

MOST_CHARACTERS = 4096
"""Most characters of an expression."""

MOST_NESTED = 64
"""Most groups within one another."""

_LOOK = "look-around", ("(?=", "(?!", "(?<=", "(?<!")
_BACK = "a back-reference", ("(?P=", *(f"\\{digit}" for digit in range(1, 10)))
_NAMES = {  # by name: their numbers are not all different
    "ASSERT": _LOOK,
    "ASSERT_NOT": _LOOK,
    "FAILURE": _LOOK,
    "GROUPREF": _BACK,
    "GROUPREF_EXISTS": ("a conditional group", ("(?(",)),
    "ATOMIC_GROUP": ("an atomic group", ("(?>",)),
    "POSSESSIVE_REPEAT": ("a possessive quantifier", ("?+", "*+", "++", "}+")),
    "AT_BOUNDARY": ("a word boundary", ("\\b",)),
    "AT_NON_BOUNDARY": ("a word boundary", ("\\B",)),
}

_parsing = threading.Lock()  # the filter of warnings belongs to the whole process


def parse(pattern: str, most_characters: int = MOST_CHARACTERS) -> tuple[Any, int]:
    """Returns the tree of ``pattern`` as ``re`` parses it, and its flags. Raises ``ConstraintError``."""
    if len(pattern) > most_characters:
        raise ConstraintError(f"{len(pattern)} characters; an expression has at most {most_characters}")
    depth = 0
    for place, element in elements(pattern):
        depth += element.startswith("(")
        depth -= element == ")"
        if depth > MOST_NESTED:
            raise ConstraintError(f"groups are nested more than {MOST_NESTED} deep{at(place)}")
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = sre_parser.parse(pattern)
    except re.error as error:
        raise ConstraintError(f"not a regular expression: {error.msg}{at(error.pos)}") from error
    except (OverflowError, RecursionError, ValueError) as error:
        raise ConstraintError(f"not a regular expression that can be read: {error}") from error
    return tree, tree.state.flags


def irregular(op: Any, pattern: str) -> ConstraintError:
    """Returns the refusal of ``op``, an operation or a place that no finite automaton has."""
    name, parts = _NAMES.get(str(op), (str(op).lower(), ("",)))
    outside = ((place, element) for place, element in elements(pattern) if element[0] != "[")  # a set
    place = next((place for place, element in outside if any(one in element for one in parts)), None)
    return ConstraintError(
        f"{name}{at(place)} is not served: the expression must be regular, without look-around, back-references, "
        "conditions, word boundaries, atomic groups and possessive quantifiers"
    )


def largest_repetition(pattern: str) -> str:
    """Returns the largest bounded repetition in ``pattern`` with its place, for a message; empty if it has none."""
    found = [
        (max(map(int, digits)), place, element)
        for place, element in elements(pattern)
        if element.startswith("{") and (digits := re.findall(r"\d+", element))
    ]
    if not found:
        return ""
    _, place, element = max(found)
    return f" (the largest repetition is {element.rstrip('+?')}{at(place)})"


def at(place: int | None) -> str:
    """Returns the words for the offset of a character in the expression; none if it is unknown."""
    return "" if place is None else f" at offset {place}"


_TOKEN = re.compile(
    r"\\[\s\S]|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]|\(\?(?:P?[<=!>:#(]?[=!]?)|\{\d*,?\d*\}[+?]?|[?*+][+?]?|[\s\S]"
)


def elements(pattern: str) -> Iterator[tuple[int, str]]:
    """Yields the offset and the text of each element of ``pattern``: an escape, a set, the start of a group, …

    Comments are read like the rest, so a place is the first one that looks like its construct.
    """
    for match in _TOKEN.finditer(pattern):
        yield match.start(), match.group()
