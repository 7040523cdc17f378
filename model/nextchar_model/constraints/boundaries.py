"""Boundaries: where the completions of a text end, as tables over the ids of an alphabet.

A search for completions follows them. Each is an automaton over classes of characters, lifted to ids as those of
expressions are, in which the ids that surely begin the character behind a completion are marked. The bytes of two
characters may begin alike, of which only one ends a word: behind such bytes, the end is pending.

Invariant: the ids that lead to a whole state spell a text that can be a completion, and no part of a character follows
the text before it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY, Alphabet
from .automaton import Automaton
from .charset import ALL, NEWLINE, Ranges, category, complement, union
from .dfa import Dfa
from .lifting import lifted
from .spellings import ALONE, Spellings, classes, spellings
from .work import Work

ENDS = -2
"""In ``transitions``: the completion ends before this id."""

_FORBIDDEN = -1
_NO_TEXT: Ranges = ((0xD800, 0xDFFF), (0xFFFD, 0xFFFD))  # surrogates, and the mark of a character that was broken
_WORK = 10_000_000  # the alphabet bounds it
_MARKS = (range(0x300, 0x1F000), range(0xE0100, 0xE01F0))  # blocks that hold all combining marks
_START, _INSIDE, _BEHIND = range(3)  # states over classes


@dataclass(frozen=True, eq=False)
class Boundary:
    """S states over V ids. State 0 is the start of a completion."""

    transitions: NDArray[np.int32]
    """[S, V]: the state after each id, ``ENDS``, or -1 if it can't follow."""
    begins: NDArray[np.bool_]
    """[S, V]: whether the id begins a character."""
    whole: NDArray[np.bool_]
    """[S]: whether a completion can end there."""
    pending: NDArray[np.bool_]
    """[S]: whether the ids since the last whole state may begin the character behind the completion."""
    distance: NDArray[np.int32]
    """[S]: the fewest characters from there to a whole state."""
    is_match: bool = False
    """Whether a completion ends wherever the state is whole, whatever follows."""
    is_one_to_one: bool = False
    """Whether each id is a character that nothing can change."""

    @property
    def size(self) -> int:
        """Bytes of its tables."""
        return 2 * (self.transitions.nbytes + self.begins.nbytes)

    @cached_property
    def ends(self) -> NDArray[np.bool_]:
        """[S, V]: whether the completion ends before the id."""
        ends: NDArray[np.bool_] = self.transitions == ENDS
        return ends

    @cached_property
    def costs(self) -> NDArray[np.int32]:
        """[S, V]: the fewest characters that a completion begins from the id on, that one included; very many if it
        can't follow.

        A pending end counts one less: the character that is begun is behind the completion.
        """
        costs = self.begins + self.distance[self.transitions] - self.pending[self.transitions]
        return np.where(self.transitions >= 0, costs, np.iinfo(np.int32).max).astype(np.int32)


def word_boundary(alphabet: Alphabet) -> Boundary:
    """Returns the boundary of words: of letters, digits, marks and underscores, at least one."""
    return _boundary(alphabet, _word_characters(), may_be_empty=False)


def line_boundary(alphabet: Alphabet) -> Boundary:
    """Returns the boundary of lines, which may be empty: before a line feed."""
    return _boundary(alphabet, complement(NEWLINE), may_be_empty=True)


def text_boundary(alphabet: Alphabet) -> Boundary:
    """Returns the boundary of texts of any characters, which end with the document only."""
    return _boundary(alphabet, ALL, may_be_empty=True)


def match_boundary(automaton: Automaton, alphabet: Alphabet) -> Boundary:
    """Returns the boundary of the texts that ``automaton`` accepts."""
    transitions = automaton.transitions.copy()
    transitions[:, BOUNDARY] = _FORBIDDEN
    pending = np.zeros(len(automaton), np.bool_)
    return Boundary(
        transitions,
        _begins(automaton),
        automaton.accepts,
        pending,
        automaton.distance,
        is_match=True,
        is_one_to_one=not any(alphabet.composing),
    )


def _boundary(alphabet: Alphabet, inside: Ranges, *, may_be_empty: bool) -> Boundary:
    universe = spellings(alphabet)
    if alphabet.kind == "bytes":  # marks too: they can't break a text
        universe = Spellings(alphabet, tuple((low, high, ALONE) for low, high in complement(_NO_TEXT)))
    parts = classes([inside, complement(inside)], universe)
    is_inside = np.zeros(len(parts), np.bool_)
    is_inside[parts.members[0]] = True
    joins = np.array([one.is_second for one in parts.joining], np.bool_)
    first = np.where(is_inside, _INSIDE, _BEHIND if may_be_empty else _FORBIDDEN)
    rows = [
        np.where(joins, _FORBIDDEN, first),  # no character composes with one of the prompt
        np.where(is_inside, _INSIDE, _BEHIND),
        np.full(len(parts), _BEHIND),
    ]
    dfa = Dfa(
        np.array(rows, np.int32).reshape(3, len(parts)),
        np.array([may_be_empty, True, False]),
        np.array([not may_be_empty, 0, 0], np.int32),
    )
    automaton = lifted(dfa, parts, universe, Work(_WORK))
    behind = _behind(automaton.transitions)
    transitions = automaton.transitions.copy()
    transitions[(transitions >= 0) & behind[transitions]] = ENDS
    transitions[:, BOUNDARY] = np.where(automaton.accepts, ENDS, _FORBIDDEN)
    return Boundary(
        transitions,
        _begins(automaton),
        automaton.accepts,
        _pending(transitions, automaton.accepts),
        automaton.distance,
        is_one_to_one=not any(alphabet.composing),
    )


def _begins(automaton: Automaton) -> NDArray[np.bool_]:
    """Returns which ids begin a character, [S, V]; see ``Automaton.detours``."""
    lengthened = automaton.distance[automaton.transitions] - automaton.distance[:, None]
    begins: NDArray[np.bool_] = (automaton.transitions >= 0) & (automaton.detours > lengthened)
    return begins


def _behind(transitions: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Returns the states that only lead to ``_BEHIND``, and that one, [S]."""
    behind = np.ones(len(transitions), np.bool_)
    behind[[_START, _INSIDE]] = False
    characters = np.delete(transitions, BOUNDARY, axis=1)
    while True:
        stays = behind & (behind[characters] | (characters < 0)).all(axis=1)
        if (stays == behind).all():
            return behind
        behind = stays


def _pending(transitions: NDArray[np.int32], whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the states within a character that may turn out to be behind the completion, [S]."""
    inner = ~whole
    pending: NDArray[np.bool_] = inner & (transitions == ENDS).any(axis=1)
    while True:
        leads = inner & (pending | ((transitions >= 0) & pending[transitions]).any(axis=1))
        if (leads == pending).all():
            return pending
        pending = leads


@cache
def _word_characters() -> Ranges:
    """The letters, digits, marks and underscores of Unicode. Takes some 30 ms, once per process."""
    marks = ((code, code) for block in _MARKS for code in block if unicodedata.category(chr(code))[0] == "M")
    return union([*category(r"\w", is_ascii=False), *marks])
