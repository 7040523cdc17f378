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
"""Most bytes of a stack that holds automata which its batch doesn't need."""

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
    """Stacks automata. Several threads may call it at once: each keeps its latest stack."""

    def __init__(self, alphabet: Alphabet) -> None:
        transitions = np.zeros((2, alphabet.size), np.int32)
        transitions[BEGINS, continuing(alphabet)] = -1
        self._own = Stack(transitions, np.where(transitions < 0, np.int32(FORBIDDEN), 0), {}, ())
        self._latest = threading.local()

    def stack(self, automata: NDArray[np.object_]) -> tuple[Stack, NDArray[np.int32] | None]:
        """Returns the stack of ``automata`` [B], and the first state of each row's, [B]; None if no row has any."""
        rows: list[Automaton | None] = automata.tolist()
        different = {id(one): one for one in rows if one is not None}
        if not different:
            return self._own, None
        stack: Stack = getattr(self._latest, "stack", self._own)
        if not different.keys() <= stack.first.keys():
            # Batches take turns, and rows come and go: those of before will soon be back.
            room = KEPT_BYTES - sum(one.size for one in different.values())
            for one in reversed(stack.automata):
                if id(one) not in different and (room := room - one.size) >= 0:
                    different[id(one)] = one
            self._latest.stack = stack = self._stacked(tuple(different.values()))
        return stack, np.array([0 if one is None else stack.first[id(one)] for one in rows], np.int32)

    def _stacked(self, automata: tuple[Automaton, ...]) -> Stack:
        first, parts, count = {}, [self._own.transitions], len(self._own.transitions)
        for one in automata:
            first[id(one)] = count
            parts.append(np.where(one.transitions < 0, -1, one.transitions + count).astype(np.int32))
            count += len(one)
        detours = np.concatenate([self._own.detours, *(one.detours for one in automata)])
        return Stack(np.concatenate(parts), detours, first, automata)
