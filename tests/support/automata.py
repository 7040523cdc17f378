"""Walks through automata of constraints, as the graph does."""

from collections.abc import Iterable

from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import Automaton


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
