"""The tables of a batch: the automata of its rows, stacked for one call of the graph.

The runner has one. Rows keep the states of their own automata; the graph sees them behind one another.

Shapes: B rows, S states in all, V ids.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .alphabet import Alphabet
from .constraints.automaton import FORBIDDEN, Automaton
from .decoder import continuing

KEPT_BYTES = 8 * 2**20
"""Most bytes of a stack that hold automata which no batch needs any more."""

STACK_SHARE = 1.25
"""Bytes of a stack per byte of the automata that its batches need, besides ``KEPT_BYTES``."""

_RECENT = 64  # calls of the graph, after which an automaton that none of them needed is no longer needed

FREE, BEGINS = 0, 1
"""States of rows without an automaton: all ids, or those that begin a character and then all ids."""


@dataclass(frozen=True, eq=False)
class Stack:
    """The automata of a batch."""

    transitions: NDArray[np.int32]
    """[S, V]"""
    detours: NDArray[np.int32]
    """[S, V]"""
    first: dict[int, int]
    """The number of the first state of each automaton, by its ``id``."""
    automata: tuple[Automaton, ...]
    """Kept, so that no other one gets their ``id``."""


class Tables:
    """Stacks automata. Several threads may call it at once: each has a stack of its own."""

    def __init__(self, alphabet: Alphabet) -> None:
        transitions = np.zeros((2, alphabet.size), np.int32)
        transitions[BEGINS, continuing(alphabet)] = -1
        self._own = Stack(transitions, np.where(transitions < 0, np.int32(FORBIDDEN), 0), {}, ())
        self._of_thread = threading.local()

    def stack(self, automata: NDArray[np.object_]) -> tuple[Stack, NDArray[np.int32] | None]:
        """Returns the stack of ``automata`` [B], and the first state of each row's, [B]; None if no row has any.

        A later call of the thread may write behind the stack's end, and nowhere else.
        """
        rows: list[Automaton | None] = automata.tolist()
        different = {id(one): one for one in rows if one is not None}
        if not different:
            return self._own, None
        pile: _Pile | None = getattr(self._of_thread, "pile", None)
        if pile is None:
            pile = self._of_thread.pile = _Pile(self._own)
        stack = pile.holding(different)
        return stack, np.array([0 if one is None else stack.first[id(one)] for one in rows], np.int32)

    def rest(self) -> None:
        """Drops a large stack of the calling thread, which has no rows for now."""
        pile: _Pile | None = getattr(self._of_thread, "pile", None)
        if pile is not None and pile.size > KEPT_BYTES:
            self._of_thread.pile = None


class _Pile:
    """The stack of one thread. New automata are added behind the others, which are copied seldom."""

    def __init__(self, own: Stack) -> None:
        self._own = self._stack = own
        self._transitions, self._detours = own.transitions, own.detours  # with room behind those of the stack
        self._needed_at: dict[int, int] = {}  # by ``id``: the latest call that needed it
        self._calls = 0

    @property
    def size(self) -> int:
        """Bytes of the stack."""
        return self._stack.transitions.nbytes + self._stack.detours.nbytes

    def holding(self, needed: dict[int, Automaton]) -> Stack:
        """Returns a stack that has the automata ``needed``, by their ``id``."""
        self._calls += 1
        self._needed_at.update(dict.fromkeys(needed, self._calls))
        added = [one for key, one in needed.items() if key not in self._stack.first]
        if added or self._calls % _RECENT == 0:
            late = [one for one in self._stack.automata if self._calls - self._needed_at[id(one)] >= _RECENT]
            count = len(self._stack.transitions) + sum(map(len, added))
            if count > len(self._transitions) or sum(one.size for one in late) > KEPT_BYTES:
                kept = [one for one in self._stack.automata if self._calls - self._needed_at[id(one)] < _RECENT]
                self._begin_again(kept + added)
                added = kept + added
            if added:
                self._add(added)
        return self._stack

    def _begin_again(self, automata: list[Automaton]) -> None:
        """Makes room for ``automata``, and for some more; the stack is empty."""
        own = self._own
        self._stack = own
        self._transitions = self._detours = own.transitions  # the room of before is free first
        count = len(own.transitions) + int(STACK_SHARE * sum(map(len, automata)))
        shape = count, own.transitions.shape[1]
        self._transitions, self._detours = np.empty(shape, np.int32), np.empty(shape, np.int32)
        self._transitions[: len(own.transitions)], self._detours[: len(own.transitions)] = own.transitions, own.detours
        self._needed_at = {id(one): self._needed_at[id(one)] for one in automata}

    def _add(self, automata: list[Automaton]) -> None:
        first, count = dict(self._stack.first), len(self._stack.transitions)
        for one in automata:
            part = slice(count, count + len(one))
            np.add(one.transitions, count, out=self._transitions[part])
            self._transitions[part][one.transitions < 0] = -1
            self._detours[part] = one.detours
            first[id(one)] = count
            count += len(one)
        self._stack = Stack(self._transitions[:count], self._detours[:count], first, (*self._stack.automata, *automata))
