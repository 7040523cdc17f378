"""Prefixes: the states after ids that were read, so that a prompt which begins with them starts from there.

An engine has one cache, which its lanes share. A prefix knows its ids as a chain: its own, and those of the prefix that
it extends. So prompts with a common beginning keep it once.

Invariant: a prefix is found for the very ids that led to its state, because they are compared; all prefixes together
have at most ``size`` bytes; those that were used least recently are dropped first, and none before those that extend
it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids

OVERHEAD = 800
"""Bytes that Python and NumPy need for a prefix beside its ids and its state."""


@dataclass(frozen=True, eq=False, slots=True)
class Prefix:
    """Ids from the start of a document on, and the state once they are fed in. L layers of H units."""

    parent: Prefix | None
    """The prefix that this one extends; None for the start of a document."""
    ids: NDArray[np.unsignedinteger]
    """The ids after those of ``parent``."""
    length: int
    """Number of all ids."""
    key: int
    """Hash of all ids."""
    hidden: NDArray[np.generic]
    """[L, H]"""
    cell: NDArray[np.float32]
    """[L, H], or [0, H] if the model has no cell."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.ids.nbytes + self.hidden.nbytes + self.cell.nbytes + OVERHEAD

    def begins(self, ids: Ids) -> bool:
        """Whether ``ids`` begin with those of the prefix."""
        parts = []
        prefix: Prefix | None = self
        while prefix is not None:
            parts.append(prefix.ids)
            prefix = prefix.parent
        return np.array_equal(np.concatenate(parts[::-1]), ids[: self.length])


_NO_IDS: NDArray[np.unsignedinteger] = np.empty(0, np.uint8)

START = Prefix(None, _NO_IDS, 0, 0, np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
"""The start of a document, which every prefix extends. It belongs to no cache, and its state isn't used."""


class Prefixes:
    """The cache of one model's prefixes. Thread-safe."""

    def __init__(self, size: int) -> None:
        """``size`` is the most bytes that it holds; 0 keeps nothing."""
        self.size = size
        self.used = 0
        """Bytes that it holds."""
        self.hits = 0
        """Number of prompts that began with a known prefix."""
        self.misses = 0
        """Number of those that didn't."""
        self._lock = threading.Lock()
        self._prefixes: OrderedDict[int, Prefix] = OrderedDict()  # by key, the least recently used one first
        self._lengths = np.zeros(0, np.int32)  # number of prefixes of each length
        # A factor for each place makes the hash of all beginnings of a prompt one cumulative sum. The factors are
        # secret, so nobody can choose ids that collide.
        self._random = np.random.default_rng()
        self._factors = np.zeros(0, np.uint64)

    def find(self, ids: Ids) -> Prefix:
        """Returns the longest known prefix after which at least one of ``ids`` is left; ``START`` if there is none."""
        most = len(ids) - 1
        keys = np.cumsum(ids[:most].astype(np.uint64) * self._factors_of(most))
        with self._lock:
            lengths = np.flatnonzero(self._lengths[: most + 1])[::-1]
            for key in keys[lengths - 1].tolist():
                if (prefix := self._prefixes.get(key)) is not None and prefix.begins(ids):
                    self._use(prefix)
                    self.hits += 1
                    return prefix
            self.misses += 1
            return START

    def keep(self, ids: Ids, after: Prefix, hidden: NDArray[np.generic], cell: NDArray[np.float32]) -> Prefix:
        """Keeps the state [L, H] that follows ``ids``, which begin with the prefix ``after``.

        Returns their prefix, or ``after`` if the cache has no room for it.
        """
        length = len(ids)
        factors = self._factors_of(length)[after.length :]
        own_key = (ids[after.length :].astype(np.uint64) * factors).sum(dtype=np.uint64)
        key = (after.key + int(own_key)) % 2**64
        with self._lock:
            if (known := self._prefixes.get(key)) is not None:
                if not known.begins(ids):
                    return after
                self._use(known)
                return known
            parent = after
            while parent.parent is not None and self._prefixes.get(parent.key) is not parent:  # dropped meanwhile
                parent = parent.parent
            own = ids[parent.length :]
            small = own.astype(np.min_scalar_type(int(own.max())))
            prefix = Prefix(parent, small, length, key, hidden.copy(), cell.copy())
            if prefix.size > self.size:
                return after
            self._add(prefix)
            return prefix

    def _add(self, prefix: Prefix) -> None:
        if prefix.length >= len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros(prefix.length + 1, np.int32)])
        self._prefixes[prefix.key] = prefix
        self._lengths[prefix.length] += 1
        self.used += prefix.size
        self._use(prefix)
        while self.used > self.size:
            _, dropped = self._prefixes.popitem(last=False)
            self._lengths[dropped.length] -= 1
            self.used -= dropped.size

    def _use(self, prefix: Prefix) -> None:
        """Makes ``prefix`` the most recently used one, except those that it extends, which come after it."""
        while prefix.parent is not None:
            self._prefixes.move_to_end(prefix.key)
            prefix = prefix.parent

    def _factors_of(self, length: int) -> NDArray[np.uint64]:
        """Returns the factors of the first ``length`` places."""
        factors = self._factors
        if length > len(factors):
            with self._lock:  # only one lane may draw, so that all see the same factors
                missing = max(0, length - len(self._factors))
                more = self._random.integers(2**64, size=missing, dtype=np.uint64) | np.uint64(1)
                factors = self._factors = np.concatenate([self._factors, more])
        return factors[:length]
