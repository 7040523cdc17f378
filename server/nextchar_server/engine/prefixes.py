"""Prefixes: the states after ids that were read, so that a prompt which begins with them starts from there.

An engine has one cache, which its lanes share. A prefix knows its ids as a chain: its own, and those of the prefix that
it extends. So prompts with a common beginning keep it once.

Invariant: a prefix is found for the very ids that led to its state, because they are compared; all prefixes together
have at most ``size`` bytes; those that were used least recently are dropped first, and none before those that extend
it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids

OVERHEAD = 820
"""Bytes that Python and NumPy need for a prefix beside its ids and its state."""

_HEAD = 64
"""Ids by which prefixes are told apart first. Most prompts differ there from most others, so few lengths are tried."""

_ID_BYTES = 4

_Key = tuple[int, int]
"""Number of ids, and the checksum of them all."""


@dataclass(frozen=True, eq=False, slots=True)
class Prefix:
    """Ids from the start of a document on, and the state once they are fed in. L layers of H units."""

    parent: Prefix | None
    """The prefix that this one extends; None for the start of a document."""
    ids: bytes
    """The ids after those of ``parent``."""
    length: int
    """Number of all ids."""
    checksum: int
    """Of all ids. Unlike a hash, it is computed piece by piece."""
    head: int
    """Checksum of the first ``_HEAD`` ids; -1 if there are fewer."""
    hidden: NDArray[np.generic]
    """[L, H]"""
    cell: NDArray[np.float32]
    """[L, H], or [0, H] if the model has no cell."""

    @property
    def key(self) -> _Key:
        """Key in the cache."""
        return self.length, self.checksum

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.ids) + self.hidden.nbytes + self.cell.nbytes + OVERHEAD

    def begins(self, ids: bytes) -> bool:
        """Whether ``ids`` begin with those of the prefix."""
        prefix: Prefix | None = self
        while prefix is not None:
            if not ids.startswith(prefix.ids, _ID_BYTES * prefix.length - len(prefix.ids)):
                return False
            prefix = prefix.parent
        return True


START = Prefix(None, b"", 0, 0, -1, np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
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
        self._prefixes: OrderedDict[_Key, Prefix] = OrderedDict()  # the least recently used one first
        self._lengths: dict[int, list[int]] = {}  # of the prefixes of each head, the shortest first

    def find(self, ids: Ids) -> Prefix:
        """Returns the longest known prefix after which at least one of ``ids`` is left; ``START`` if it knows none."""
        data = _bytes(ids)
        view = memoryview(data)
        candidates: list[Prefix] = []
        checksum = place = 0
        with self._lock:
            for head in dict.fromkeys((-1, _head(data))):
                lengths, tried = self._lengths.get(head, ()), 0
                while tried < len(lengths) and (length := lengths[tried]) < len(ids):
                    checksum = crc32(view[_ID_BYTES * place : _ID_BYTES * length], checksum)
                    place = length
                    if (prefix := self._prefixes.get((length, checksum))) is not None:
                        candidates.append(prefix)
                    tried = bisect_right(lengths, length, tried)
            for prefix in reversed(candidates):
                if prefix.begins(data):
                    self._use(prefix)
                    self.hits += 1
                    return prefix
            self.misses += 1
            return START

    def keep(self, ids: Ids, after: Prefix, hidden: NDArray[np.generic], cell: NDArray[np.float32]) -> Prefix:
        """Keeps the state [L, H] that follows ``ids``, which begin with the prefix ``after`` and are longer.

        Returns their prefix, or ``after`` if the cache has no room for it.
        """
        own = _bytes(ids[after.length :])
        key = len(ids), crc32(own, after.checksum)
        with self._lock:
            if (known := self._prefixes.get(key)) is not None:
                if not known.begins(_bytes(ids)):
                    return after
                self._use(known)
                return known
            parent = after
            while parent.parent is not None and self._prefixes.get(parent.key) is not parent:  # dropped meanwhile
                own = parent.ids + own
                parent = parent.parent
            head = _head(_bytes(ids[:_HEAD])) if after.head < 0 else after.head
            prefix = Prefix(parent, own, *key, head, hidden.copy(), cell.copy())
            if prefix.size > self.size:
                return after
            self._add(prefix)
            return prefix

    def _add(self, prefix: Prefix) -> None:
        self._prefixes[prefix.key] = prefix
        insort(self._lengths.setdefault(prefix.head, []), prefix.length)
        self.used += prefix.size
        self._use(prefix)
        self._drop()

    def resize(self, size: int) -> None:
        """Holds at most ``size`` bytes from now on."""
        with self._lock:
            self.size = size
            self._drop()

    def _drop(self) -> None:
        """Drops those that were used least recently while there are too many."""
        while self.used > self.size:
            _, dropped = self._prefixes.popitem(last=False)
            self.used -= dropped.size
            lengths = self._lengths[dropped.head]
            del lengths[bisect_left(lengths, dropped.length)]
            if not lengths:
                del self._lengths[dropped.head]

    def _use(self, prefix: Prefix) -> None:
        """Makes ``prefix`` the most recently used one, except those that it extends, which come after it."""
        while prefix.parent is not None:
            self._prefixes.move_to_end(prefix.key)
            prefix = prefix.parent


def _head(ids: bytes) -> int:
    return crc32(ids[: _ID_BYTES * _HEAD]) if len(ids) >= _ID_BYTES * _HEAD else -1


def _bytes(ids: Ids) -> bytes:
    return ids.astype(np.int32).tobytes()
