"""Choices: the automaton of a list of texts.

A tree of the texts' ids whose equal branches are merged, from the ends on (D. Revuz, "Minimisation of acyclic
deterministic automata in linear time", 1992). It has the form of an expression's automaton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..alphabet import Alphabet, Spelling, UnknownCharacterError
from ..composition import MAX_MARKS, joins, longest_marks, normalize
from .automaton import Automaton
from .lifting import check_size, finished
from .minimal import mixed
from .work import ConstraintError, Work

MOST_CHOICES = 100_000
MOST_CHOICE_CHARACTERS = 2_000_000
"""Most characters of all choices together."""

_STAGE = "the list of choices"
_Ids = NDArray[np.int64]


def compile_choices(choices: Sequence[str], alphabet: Alphabet) -> Automaton:
    """Returns the automaton of the texts ``choices``, in NFC, as ``alphabet`` spells them.

    Raises ``ConstraintError`` if there are none or too many, or if ``alphabet`` can't spell one of them.
    """
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise ConstraintError(f"{len(choices)} choices; there must be 1 to {MOST_CHOICES}")
    if (count := sum(map(len, choices))) > MOST_CHOICE_CHARACTERS:
        raise ConstraintError(f"the choices have {count} characters; they may have {MOST_CHOICE_CHARACTERS} together")
    work = Work(10 * MOST_CHOICES)  # their number bounds the work already
    tree = _Tree.of(choices, alphabet, work)
    groups, representatives = _merged(tree)
    return _table(tree, groups, representatives, alphabet.size)


@dataclass(eq=False)
class _Tree:
    """Nodes in the order of their depth; node 0 is the root. Each other one has an edge into it."""

    parent: _Ids
    id_: _Ids
    """The id that leads to each node."""
    begins: NDArray[np.bool_]
    """Whether that id begins a character."""
    accepts: NDArray[np.bool_]
    depth: _Ids
    """The first node of each depth, and the number of nodes."""

    @staticmethod
    def of(choices: Sequence[str], alphabet: Alphabet, work: Work) -> _Tree:
        spelling, characters = _spelled(choices, alphabet)
        flat = spelling.ids
        first = np.zeros(len(flat), np.bool_)
        ends = np.cumsum(spelling.lengths)
        first[ends - spelling.lengths] = True
        lengths = np.diff(np.append(0, ends)[np.append(0, np.cumsum(characters))])
        starts = np.cumsum(lengths) - lengths
        node = np.zeros(len(choices), np.int64)
        parents, symbols = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        firsts, depth, count = [np.zeros(1, np.bool_)], [0], 1
        accepts = [np.array([bool((lengths == 0).any())])]
        active = np.flatnonzero(lengths > 0)
        level = 0
        while len(active):
            places = starts[active] + level
            keys, one, number = np.unique(
                node[active] * alphabet.size + flat[places], return_index=True, return_inverse=True
            )
            node[active] = count + number
            parents.append(keys // alphabet.size)
            symbols.append(keys % alphabet.size)
            firsts.append(first[places[one]])
            level += 1
            accepted = np.zeros(len(keys), np.bool_)
            accepted[number[lengths[active] == level]] = True
            accepts.append(accepted)
            depth.append(count)
            count += len(keys)
            active = active[lengths[active] > level]
            work.spend(16 + len(keys) // 1024, _STAGE)
        return _Tree(
            np.concatenate(parents),
            np.concatenate(symbols),
            np.concatenate(firsts),
            np.concatenate(accepts),
            np.array([*depth, count]),
        )

    def heights(self) -> _Ids:
        """Returns the most ids that follow each node."""
        heights = np.zeros(len(self.parent), np.int64)
        for low, high in zip(self.depth[-2:0:-1], self.depth[:1:-1], strict=True):
            np.maximum.at(heights, self.parent[low:high], heights[low:high] + 1)
        return heights

    def distances(self) -> _Ids:
        """Returns the fewest characters from each node to the end of a text."""
        distances = np.where(self.accepts, 0, 2**30)
        for low, high in zip(self.depth[-2:0:-1], self.depth[:1:-1], strict=True):
            np.minimum.at(distances, self.parent[low:high], distances[low:high] + self.begins[low:high])
        return distances


def _spelled(choices: Sequence[str], alphabet: Alphabet) -> tuple[Spelling, _Ids]:
    """Returns the spelling of all choices, one after another, and the characters of each, [choices]."""
    texts = [normalize(choice) for choice in choices]
    for place, text in enumerate(texts):
        if text and joins(text[0]):
            raise ConstraintError(f"choice {place} begins with {text[0]!r}, which joins the character before it")
    if longest_marks("\0".join(texts)) >= MAX_MARKS:
        raise ConstraintError(f"a choice has {MAX_MARKS} combining marks in a row")
    characters = np.array(list(map(len, texts)), np.int64)
    try:
        return alphabet.spell("".join(texts)), characters
    except UnknownCharacterError as error:
        place = int(np.searchsorted(np.cumsum(characters), error.offset, side="right"))
        raise ConstraintError(
            f"choice {place}: the model's alphabet lacks {error.character!r} (U+{ord(error.character):04X})"
        ) from None


def _merged(tree: _Tree) -> tuple[_Ids, _Ids]:
    """Returns the group of each node, that of the root being 0, and one node of each group."""
    heights = tree.heights()
    order = np.argsort(heights, kind="stable")
    bounds = np.searchsorted(heights[order], np.arange(heights.max() + 2))
    sums = tree.accepts.astype(np.uint64)
    groups = np.zeros(len(heights), np.int64)
    first: list[_Ids] = []
    count = 0
    for low, high in pairwise(bounds):
        nodes = order[low:high]
        _, one, number = np.unique(mixed(sums[nodes]), return_index=True, return_inverse=True)
        groups[nodes] = count + number
        first.append(nodes[one])
        count += len(one)
        edges = nodes[nodes > 0]
        np.add.at(
            sums,
            tree.parent[edges],
            mixed(mixed(groups[edges].astype(np.uint64) + 1) + tree.id_[edges].astype(np.uint64)),
        )
    representatives = np.concatenate(first)
    # The root is the only one of its height.
    return count - 1 - groups, representatives[::-1]


def _table(tree: _Tree, groups: _Ids, representatives: _Ids, V: int) -> Automaton:
    S = len(representatives)
    check_size(S, V)
    transitions = np.full((S, V), -1, np.int32)
    costs = np.zeros((S, V), np.bool_)
    chosen = np.zeros(len(groups), np.bool_)
    chosen[representatives] = True
    edges = np.flatnonzero(chosen[tree.parent])
    edges = edges[edges > 0]
    source = groups[tree.parent[edges]]
    transitions[source, tree.id_[edges]] = groups[edges]
    costs[source, tree.id_[edges]] = tree.begins[edges]
    distances = tree.distances()[representatives].astype(np.int32)
    return finished(transitions, costs, tree.accepts[representatives], distances)
