"""The deterministic automaton over classes of characters: subsets of nodes, minimal, without dead ends.

Third stage of the compiler. A state is the set of nodes that can consume the next character, as the bits of a number:
one set for each kind of character that may come next, because anchors depend on it.

Invariant: from every state a match can be reached; a text leads to an accepting state if and only if it matches and, of
an alphabet with combining marks, is in NFC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .charset import NEWLINE
from .minimal import minimal
from .nfa import Nfa, Place
from .spellings import Classes
from .work import ConstraintError, Work

MOST_STATES = 16_000
"""Most states before equal ones are merged."""

MOST_JOINED = 4
"""Most combining marks in a row; a text of more would be split."""

_START, _NEWLINE, _OTHER, _END = range(4)  # the neighbours of a place in the text
_STAGE = "the states of the automaton"

_Key = tuple[tuple[int, ...], int, bool, int]
"""Nodes for each kind of next character; the last character's combining class, whether a mark may compose with it, and
how many marks came in a row."""


@dataclass(frozen=True, eq=False)
class Dfa:
    """S states over C classes. State 0 is the start."""

    transitions: NDArray[np.int32]
    """[S, C]: the state after each class, or -1."""
    accepts: NDArray[np.bool_]
    """[S]: whether the text so far matches."""
    distance: NDArray[np.int32]
    """[S]: the fewest characters from there to a match."""


def determinize(nfa: Nfa, classes: Classes, work: Work) -> Dfa:
    """Returns the automaton of ``nfa`` over ``classes``. Raises ``ConstraintError``.

    Raises it also if no text matches.
    """
    steps = _Steps(nfa, classes, work)
    ordered = any(joining.joins for joining in classes.joining)
    start: _Key = (steps.start, 0, ordered, 0)
    numbers = {start: 0}
    keys = [start]
    rows: list[list[int]] = []
    for key in _growing(keys):
        sets, last, is_first, marks = key
        row = [-1] * len(classes)
        for one, following in steps.after(sets):
            joining = classes.joining[one]
            if ordered:
                if (joining.is_second and is_first) or 0 < joining.first < last:
                    continue
                run = marks + 1 if joining.joins else 0
                if run > MOST_JOINED:
                    continue
                after: _Key = (following, joining.last, is_first if joining.first else joining.is_first, run)
            else:
                after = (following, 0, False, 0)
            if after not in numbers:
                if len(keys) == MOST_STATES:
                    raise ConstraintError(f"too large: its automaton has more than {MOST_STATES} states")
                numbers[after] = len(keys)
                keys.append(after)
            row[one] = numbers[after]
        rows.append(row)
    transitions = np.array(rows, np.int32).reshape(len(keys), len(classes))
    accepts = np.array([key[0][-1] & 1 for key in keys], np.bool_)
    return Dfa(*minimal(transitions, accepts, work))


def _growing(keys: list[_Key]) -> Iterator[_Key]:
    """Yields ``keys``, and those that are added meanwhile."""
    place = 0
    while place < len(keys):
        yield keys[place]
        place += 1


class _Steps:
    """The steps of a nondeterministic automaton over classes."""

    def __init__(self, nfa: Nfa, classes: Classes, work: Work) -> None:
        self._closures = _Closures(nfa, work)
        self._work = work
        newlines = set(classes.members[nfa.sets.index(NEWLINE)]) if nfa.has_anchors else set()
        self.start = self._closures.of([nfa.start], _START)
        # The classes that may come next, for each set of nodes of a state: the newline, and all others.
        others = [one for one in range(len(classes)) if one not in newlines]
        self._kinds = [(sorted(newlines), _NEWLINE), (others, _OTHER)] if nfa.has_anchors else [(others, _OTHER)]
        nodes = [0] * len(nfa.sets)  # of each set, as bits
        for node, number in enumerate(nfa.set_of):
            if number >= 0:
                nodes[number] |= 1 << 2 * node
        self._consuming = [0] * len(classes)
        """Of each class: the nodes that consume it; before the last newline only that."""
        for bits, members in zip(nodes, classes.members, strict=True):
            for one in members:
                self._consuming[one] |= bits | bits << 1 if one in newlines else bits
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}
        self._cost = 1 + len(nfa.next) // 4096  # of a step, whose numbers have as many bits as there are nodes

    def after(self, sets: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yields the classes that can follow a state of ``sets``, each with the nodes after it."""
        for bits, (classes, before) in zip(sets, self._kinds, strict=False):  # the last set is that of the end
            self._work.spend(self._cost * (1 + len(classes)), _STAGE)
            for one in classes:
                consuming = bits & self._consuming[one]
                if not consuming:
                    continue
                key = consuming, before
                if key not in self._known:
                    found = list(_bits(consuming))
                    self._work.spend(len(found), _STAGE)
                    self._known[key] = self._closures.after(found, before)
                if any(self._known[key]):
                    yield one, self._known[key]


class _Closures:
    """The nodes that consume a character, or end the text, after nodes that lead on at once.

    A node has three bits' worth of modes: as usual (2n), before the newline that ends the text (2n + 1), and behind it,
    in which only the end is left. The node of the match has number 0, so bit 0 is the match.
    """

    def __init__(self, nfa: Nfa, work: Work) -> None:
        self._nfa = nfa
        self._work = work
        self._known: dict[tuple[int, int, int, int], int] = {}
        self._kinds = (_NEWLINE, _OTHER, _END) if nfa.has_anchors else (_OTHER,)

    def of(self, nodes: list[int], before: int) -> tuple[int, ...]:
        """Returns the bits after ``nodes``, which the character ``before`` precedes, for each kind of next one."""
        return tuple(self._union([(node, 0) for node in nodes], before, kind) for kind in self._kinds)

    def after(self, bits: list[int], before: int) -> tuple[int, ...]:
        """Returns the bits after the nodes of ``bits`` have consumed ``before``, for each kind of next character."""
        nodes = [(self._nfa.next[bit >> 1][0], 2 * (bit & 1)) for bit in bits]
        return tuple(self._union(nodes, before, kind) for kind in self._kinds)

    def _union(self, nodes: list[tuple[int, int]], before: int, after: int) -> int:
        bits = 0
        for node, mode in nodes:
            key = node, mode, before, after
            if key not in self._known:
                self._known[key] = self._closure(node, mode, before, after)
            bits |= self._known[key]
        return bits

    def _closure(self, node: int, mode: int, before: int, after: int) -> int:
        nfa = self._nfa
        if mode == 2 and after != _END:
            return 0
        bits, seen, stack = 0, {(node, mode)}, [(node, mode)]
        steps = 0
        while stack:
            node, mode = stack.pop()
            steps += 1
            if node == nfa.match:
                bits |= 1 if mode != 1 else 0
                continue
            if nfa.set_of[node] >= 0:
                if mode != 2:
                    bits |= 1 << (2 * node + mode)
                continue
            passes = _passes(nfa.place[node], before, after, mode)
            if passes is None:
                continue
            following = [(one, passes) for one in nfa.next[node] if (one, passes) not in seen]
            seen.update(following)
            stack += following
            steps += len(following)
        self._work.spend(steps + bits.bit_length() // 512, _STAGE)
        return bits


def _passes(place: Place | None, before: int, after: int, mode: int) -> int | None:
    """Returns the mode behind an anchor, or None if it doesn't let the text pass."""
    match place:
        case None:
            return mode
        case Place.START:
            return mode if before == _START else None
        case Place.LINE_START:
            return mode if before in (_START, _NEWLINE) else None
        case Place.END:
            return mode if after == _END else None
        case Place.LINE_END:
            return mode if after in (_END, _NEWLINE) else None
        case Place.LAST_LINE_END:
            return mode if after == _END else max(mode, 1) if after == _NEWLINE else None


def _bits(number: int) -> Iterator[int]:
    """Yields the places of the ones in ``number``, except that of bit 0."""
    number &= ~1
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
