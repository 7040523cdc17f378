"""Walks through automata of constraints, as the graph does."""

from collections.abc import Iterable
from random import Random

import numpy as np

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.constraints.automaton import Automaton
from nextchar_model.decoder import decode


def accepts(automaton: Automaton, ids: Iterable[int]) -> bool:
    """Whether ``ids`` lead to an accepting state."""
    state = 0
    for id_ in ids:
        state = int(automaton.transitions[state, id_])
        if state < 0:
            return False
    return bool(automaton.accepts[state])


def texts(automaton: Automaton, alphabet: Alphabet, most_characters: int) -> set[tuple[int, ...]]:
    """Returns the ids of all texts of at most ``most_characters`` characters that ``automaton`` accepts."""
    found: set[tuple[int, ...]] = set()
    waiting: list[tuple[int, tuple[int, ...], int]] = [(0, (), most_characters)]
    while waiting:
        state, ids, left = waiting.pop()
        if automaton.accepts[state]:
            found.add(ids)
        for id_ in range(1, alphabet.size):
            after = int(automaton.transitions[state, id_])
            if after >= 0:
                cost = int(automaton.detours[state, id_] + automaton.distance[state] - automaton.distance[after])
                assert cost in (0, 1)
                if cost <= left:
                    waiting.append((after, (*ids, id_), left - cost))
    return found


def random_text(automaton: Automaton, alphabet: Alphabet, random_: Random, most_characters: int) -> str:
    """Returns a text of ``automaton`` of at most ``most_characters`` characters, each step drawn evenly."""
    ids: list[int] = []
    state, slack = 0, most_characters - automaton.shortest
    while True:
        detours = automaton.detours[state]
        id_ = random_.choice(np.flatnonzero(detours <= slack).tolist())
        if id_ == BOUNDARY:
            return decode(alphabet, ids)
        ids.append(id_)
        slack -= int(detours[id_])
        state = int(automaton.transitions[state, id_])
