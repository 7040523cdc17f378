"""The spellings of the characters of each class, as a tree of ids whose equal branches are one.

``lifting`` turns a step over a class into steps over ids with it. A node is known by its content: which ids can follow,
and for each the class that it completes, the node that continues it, or both: the ids of 가 begin those of 각.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .spellings import Classes, Spellings
from .work import Work

NONE = -1
_STAGE = "the characters of its sets"
_CONTINUATION, _BITS = 0x80, 6  # of UTF-8
# First and last code point, bytes, and the first byte without the bits of the code point.
_LENGTHS = ((0, 0x7F, 1, 0), (0x80, 0x7FF, 2, 0xC0), (0x800, 0xFFFF, 3, 0xE0), (0x10000, 0x10FFFF, 4, 0xF0))

Branch = tuple[int, int, int]
"""An id, the class that it completes or ``NONE``, and the number of the node that continues it or ``NONE``."""


class Node:
    """The ids that can follow a beginning."""

    def __init__(self, branches: tuple[Branch, ...], nodes: list[Node]) -> None:
        self.ids, self.classes, self.following = np.array(branches, np.int64).reshape(-1, 3).T
        below = {one for one in self.classes.tolist() if one != NONE}
        for number in set(self.following.tolist()) - {NONE}:
            below.update(nodes[number].below)
        self.below = below
        """The classes of all characters that it begins."""

    @cached_property
    def below_array(self) -> NDArray[np.int64]:
        """``below`` as an array."""
        return np.array(sorted(self.below), np.int64)


class Trie:
    """The tree. Its root is the beginning of a character."""

    def __init__(self, classes: Classes, universe: Spellings, work: Work) -> None:
        self.nodes: list[Node] = []
        self._numbers: dict[tuple[Branch, ...], int] = {}
        self._classes = classes
        self._work = work
        self._whole: dict[tuple[int, int], int] = {}
        self.root = self.nodes[
            self._of_bytes() if universe.alphabet.kind == "bytes" else self._of_paths(universe.paths)
        ]

    def _node(self, branches: list[Branch]) -> int:
        key = tuple(branches)
        if key not in self._numbers:
            self._work.spend(len(branches) + 4, _STAGE)
            self._numbers[key] = len(self.nodes)
            self.nodes.append(Node(key, self.nodes))
        return self._numbers[key]

    def _of_paths(self, paths: dict[int, tuple[int, ...]]) -> int:
        classes = self._classes
        root: dict[int, list[object]] = {}
        for low, high, number in zip(classes.low.tolist(), classes.high.tolist(), classes.number.tolist(), strict=True):
            self._work.spend((high - low) // 4 + 1, _STAGE)
            for code in range(low, high + 1):
                branches = root
                *beginning, last = paths[code]
                for id_ in beginning:
                    entry = branches.setdefault(id_, [NONE, None])
                    if entry[1] is None:
                        entry[1] = {}
                    branches = entry[1]  # type: ignore[assignment]
                branches.setdefault(last, [NONE, None])[0] = number
        return self._frozen(root)

    def _frozen(self, branches: dict[int, list[object]]) -> int:
        return self._node(
            [
                (id_, number, NONE if below is None else self._frozen(below))  # type: ignore[misc, arg-type]
                for id_, (number, below) in sorted(branches.items())
            ]
        )

    def _of_bytes(self) -> int:
        classes = self._classes
        ranges = list(zip(classes.low.tolist(), classes.high.tolist(), classes.number.tolist(), strict=True))
        root: list[Branch] = []
        for first, last, length, mark in _LENGTHS:
            inside = [(max(low, first), min(high, last), number) for low, high, number in ranges]
            root += [
                (mark + byte + 1, number, node)
                for byte, number, node in self._blocks([one for one in inside if one[0] <= one[1]], 0, length)
            ]
        return self._node(root)

    def _blocks(self, ranges: list[tuple[int, int, int]], start: int, length: int) -> list[tuple[int, int, int]]:
        """Returns the branches of ``ranges``, which ``length`` bytes spell from ``start`` on, by the byte's bits."""
        size = 1 << _BITS * (length - 1)
        parts: dict[int, list[tuple[int, int, int]]] = {}
        for low, high, number in ranges:
            first, last = (low - start) // size, (high - start) // size
            self._work.spend(last - first + 1, _STAGE)
            for block in range(first, last + 1):
                begin = start + block * size
                parts.setdefault(block, []).append((max(low, begin), min(high, begin + size - 1), number))
        branches: list[tuple[int, int, int]] = []
        for block, inside in parts.items():
            if length == 1:
                branches.append((block, inside[0][2], NONE))
            else:
                branches.append((block, NONE, self._below(inside, start + block * size, size, length - 1)))
        return branches

    def _below(self, ranges: list[tuple[int, int, int]], start: int, size: int, length: int) -> int:
        low, high, number = ranges[0]
        is_whole = len(ranges) == 1 and high - low + 1 == size
        if is_whole and (length, number) in self._whole:
            return self._whole[length, number]
        branches = self._blocks(ranges, start, length)
        node = self._node([(_CONTINUATION + bits + 1, one, following) for bits, one, following in branches])
        if is_whole:
            self._whole[length, number] = node
        return node
