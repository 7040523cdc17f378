"""The nondeterministic automaton of a regular expression, with its anchors.

Second stage of the compiler. Nodes either consume one code point of a set, or lead on at once, perhaps only at certain
places of the text. An anchor depends on the code points beside it, so the nodes that follow depend on a context: the
code point before (the text's start, a newline or another one) and the one after (a newline, another one or the end).

Source of the construction: Ken Thompson, "Regular expression search algorithm", CACM 11 (1968).
"""

from __future__ import annotations

import re._constants as sre  # type: ignore[import-not-found]
from enum import Enum, auto
from typing import Any

from .charset import NEWLINE, Ranges, charset
from .syntax import MOST_CHARACTERS, irregular, largest_repetition, parse
from .work import ConstraintError, Work

MOST_NODES = 20_000
"""Most nodes of an automaton, repetitions written out."""

MOST_SETS = 512
"""Most different sets of code points in one expression."""

_TYPE_FLAGS = sre.SRE_FLAG_ASCII | sre.SRE_FLAG_LOCALE | sre.SRE_FLAG_UNICODE
_ELEMENTS = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)


class Place(Enum):
    """Where an anchor lets the text pass."""

    START = auto()
    LINE_START = auto()
    END = auto()
    LINE_END = auto()
    LAST_LINE_END = auto()
    """At the end, or before a newline that ends the text."""


class Nfa:
    """Nodes by number. A node of set -1 leads on at once; the others consume a code point of their set."""

    def __init__(self, pattern: str, work: Work, *, most_characters: int = MOST_CHARACTERS) -> None:
        """Compiles ``pattern``, of ``most_characters`` at most. Raises ``ConstraintError``."""
        self.pattern = pattern
        self._work = work
        self._tree, flags = parse(pattern, most_characters)
        tree = self._tree
        self.sets: list[Ranges] = []
        """The different sets of the expression."""
        self._known: dict[Ranges, int] = {}
        self._elements: dict[tuple[Any, int, int], int] = {}
        self.set_of: list[int] = [-1]
        """Of each node: its set, or -1."""
        self.next: list[list[int]] = [[]]
        """Of each node: the nodes that follow it."""
        self.place: list[Place | None] = [None]
        """Of each node: the places at which it lets the text pass, None for all."""
        if (size := self._size(tree)) > MOST_NODES:
            raise ConstraintError(
                f"too large: written out, the expression has {size} elements, more than {MOST_NODES}"
                f"{largest_repetition(pattern)}"
            )
        work.spend(size, "the expression")
        self.match = 0
        """The node that ends every match."""
        self.start = self._sequence(tree, flags, self.match)
        """The node from which a text is matched."""
        self.written = len(self.sets)
        """Number of sets that the expression itself has; anchors add that of the newline."""
        self.has_anchors = any(place is not None for place in self.place)
        if self.has_anchors:
            self._set(NEWLINE)

    def _size(self, tree: Any) -> int:
        """Returns how many nodes ``tree`` takes at most."""
        size = 1
        for op, value in tree:
            if op in _REPEATS:
                least, most, body = value
                times = least + 1 if most is sre.MAXREPEAT else most
                size += times * (self._size(body) + 1)
            elif op is sre.SUBPATTERN:
                size += self._size(value[3])
            elif op is sre.BRANCH:
                size += sum(map(self._size, value[1]))
            else:
                size += 1
        return size

    def _node(self, following: list[int], set_number: int = -1, place: Place | None = None) -> int:
        self.set_of.append(set_number)
        self.next.append(following)
        self.place.append(place)
        return len(self.next) - 1

    def _sequence(self, tree: Any, flags: int, after: int) -> int:
        """Adds the nodes of ``tree``, which lead to ``after``; returns the first one."""
        for op, value in reversed(list(tree)):
            after = self._element(op, value, flags, after)
        return after

    def _element(self, op: Any, value: Any, flags: int, after: int) -> int:
        if op in _ELEMENTS:
            return self._node([after], self._set_of(op, value, flags))
        if op in _REPEATS:
            return self._repeat(value, flags, after)
        if op is sre.SUBPATTERN:
            _, added, removed, body = value
            if added & _TYPE_FLAGS:
                flags &= ~_TYPE_FLAGS
            return self._sequence(body, (flags | added) & ~removed, after)
        if op is sre.BRANCH:
            return self._node([self._sequence(branch, flags, after) for branch in value[1]])
        if op is sre.AT and (place := _place(value, flags)) is not None:
            return self._node([after], place=place)
        raise irregular(value if op is sre.AT else op, self.pattern)

    def _repeat(self, value: Any, flags: int, after: int) -> int:
        least, most, body = value
        if most is sre.MAXREPEAT:
            loop = self._node([])
            self.next[loop] = [self._sequence(body, flags, loop), after]
            first = loop
        else:
            first = after
            for _ in range(most - least):
                first = self._node([self._sequence(body, flags, first), after])
        for _ in range(least):
            first = self._sequence(body, flags, first)
        return first

    def _set_of(self, op: Any, value: Any, flags: int) -> int:
        key = op, value if isinstance(value, int) else id(value), flags  # copies of a repeated element are one
        if key not in self._elements:
            ranges = charset(op, value, flags)
            self._work.spend(len(ranges) + 16, "the sets of characters")
            self._elements[key] = self._set(ranges)
        return self._elements[key]

    def _set(self, ranges: Ranges) -> int:
        if ranges not in self._known:
            if len(self.sets) == MOST_SETS:
                raise ConstraintError(f"too large: more than {MOST_SETS} different sets of characters")
            self._known[ranges] = len(self.sets)
            self.sets.append(ranges)
        return self._known[ranges]


def _place(value: Any, flags: int) -> Place | None:
    """Returns the places that the anchor ``value`` means; None if no automaton can have it."""
    lines = bool(flags & sre.SRE_FLAG_MULTILINE)
    return {
        sre.AT_BEGINNING: Place.LINE_START if lines else Place.START,
        sre.AT_BEGINNING_STRING: Place.START,
        sre.AT_END: Place.LINE_END if lines else Place.LAST_LINE_END,
        sre.AT_END_STRING: Place.END,
    }.get(value)
