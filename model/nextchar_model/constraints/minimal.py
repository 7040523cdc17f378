"""Merging equal states, and leaving out dead ends.

``dfa`` and ``choices`` finish their automata here. States that reach a match within the same fewest and most characters
are told apart, round by round, by the groups of the states that follow them (E. F. Moore, 1956).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .work import ConstraintError, Work

_ROUND = 20_000  # elements of a table that cost as much as one operation of another stage, times a hundred
_MULTIPLIERS = np.random.Generator(np.random.PCG64(15)).integers(1, 2**63, 4096, np.uint64) * np.uint64(2) + np.uint64(
    1
)

Parts = tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]
"""Transitions [S, C], accepting states [S], and the distance of each to one [S]."""


def minimal(transitions: NDArray[np.int32], accepts: NDArray[np.bool_], work: Work) -> Parts:
    """Returns an automaton of the same texts whose state 0 is that of the start, too.

    It is minimal unless merging would take too much ``work``. Raises ``ConstraintError`` if no text matches.
    """
    distance = _nearest(_before(transitions), accepts)
    if distance[0] < 0:
        raise ConstraintError("no text matches")
    alive = distance >= 0
    transitions = np.where((transitions >= 0) & alive[transitions], transitions, -1)
    transitions, kept = _renumbered(transitions, alive)
    accepts, distance = accepts[kept], distance[kept]
    groups = _groups(transitions, accepts, distance, work)
    _, first = np.unique(groups, return_index=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    first = first[order]
    merged = transitions[first]
    numbers = rank[groups].astype(np.int32)
    return np.where(merged >= 0, numbers[merged], -1).astype(np.int32), accepts[first], distance[first].astype(np.int32)


def _renumbered(
    transitions: NDArray[np.int32], alive: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    kept = np.flatnonzero(alive)
    numbers = np.cumsum(alive) - 1
    rows = transitions[kept]
    return np.where(rows >= 0, numbers[rows], -1).astype(np.int32), kept


def _before(transitions: NDArray[np.int32]) -> list[list[int]]:
    """Returns the states from which a transition leads to each state, each once."""
    S = len(transitions)
    source, column = np.nonzero(transitions >= 0)
    pairs = np.unique(transitions[source, column].astype(np.int64) * S + source)
    bounds = np.searchsorted(pairs, np.arange(S + 1) * S).tolist()
    sources = (pairs % max(S, 1)).tolist()
    return [sources[low:high] for low, high in pairwise(bounds)]


def _nearest(before: list[list[int]], accepts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the fewest transitions from each state to an accepting one, [S]; -1 if there are none."""
    found = np.where(accepts, 0, -1).tolist()
    states = np.flatnonzero(accepts).tolist()
    for state in states:  # grows
        for one in before[state]:
            if found[one] < 0:
                found[one] = found[state] + 1
                states.append(one)
    return np.array(found, np.int64)


def _longest(before: list[list[int]]) -> NDArray[np.int64]:
    """Returns the most transitions that can follow each state, [S]; -1 if there is no most."""
    left = [0] * len(before)
    for states in before:
        for state in states:
            left[state] += 1
    longest = [-1] * len(before)
    ended = [state for state, count in enumerate(left) if count == 0]
    for state in ended:
        longest[state] = 0
    for state in ended:  # grows, by the longest ones last
        for one in before[state]:
            left[one] -= 1
            if left[one] == 0:
                longest[one] = longest[state] + 1
                ended.append(one)
    return np.array(longest, np.int64)


def _groups(
    transitions: NDArray[np.int32], accepts: NDArray[np.bool_], distance: NDArray[np.int64], work: Work
) -> NDArray[np.int64]:
    """Returns the group of each state, [S]: states of one group accept the same texts."""
    S, C = transitions.shape
    alone = np.arange(S)
    _, groups = np.unique((distance * (S + 2) + _longest(_before(transitions)) + 1) * 2 + accepts, return_inverse=True)
    count = int(groups.max()) + 1
    multipliers = np.resize(_MULTIPLIERS, C)
    cost = 100 * (S * (C + 8) // _ROUND + 1)
    while True:
        if work.left < cost:
            return alone
        work.spend(cost, "the states of the automaton")
        numbers = np.append(groups + 1, 0).astype(np.uint64)  # of state -1: 0
        sums = (mixed(numbers)[transitions] * multipliers).sum(axis=1, dtype=np.uint64) + mixed(numbers[:S])
        _, groups = np.unique(sums, return_inverse=True)
        if (new := int(groups.max()) + 1) == count:
            break
        count = new
    # The sums tell apart all but a vanishing number of states: make sure of these, too.
    _, first = np.unique(groups, return_index=True)
    numbers = np.append(groups, -1)
    same = (numbers[transitions] == numbers[transitions[first[groups]]]).all() and (
        accepts == accepts[first[groups]]
    ).all()
    return groups if same else alone


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns a scrambled number for each of ``numbers`` (the finalizer of SplitMix64)."""
    bits = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
