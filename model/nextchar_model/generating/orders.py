"""Orders: the texts that ``generator`` has to generate, handed out to its threads, and put in order again.

Invariant: texts leave in the order of their requests; those that are handed out and haven't left are bounded in number,
and those that wait for an earlier one in characters too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..batch import RecurrentState
from ..parameters import Text
from .plan import Plan

MOST_WAITING = 2**25
"""Most characters of texts that wait for an earlier one, before no other text is begun."""

_SHARES = 4  # portions of each thread at least, so that all of them end together


@dataclass(frozen=True, eq=False)
class Start:
    """Where a text starts."""

    state: RecurrentState
    """Of one row, [L, 1, H]."""
    last_id: int
    ids: NDArray[np.int32]
    """Ids that the row reads from there, before it samples."""


class Orders(NamedTuple):
    """Consecutive texts to generate."""

    first: int
    """Number of the first one, counted from 0."""
    seeds: NDArray[np.uint64]
    plans: list[Plan]
    starts: list[Start]


Take = Callable[[int, int], Orders]
"""Returns the next texts, from a number on and as many as another one, or fewer; none if there are no more."""


class OrderBook:
    """Hands out texts, and takes them back. Threads share it."""

    def __init__(self, take: Take, *, most: int, threads: int, count: int | None) -> None:
        """At most ``most`` texts are handed out and haven't left; ``count`` are to come, or an unknown number."""
        self._take = take
        self._most = most
        self._left = count
        self._threads = threads
        self._condition = threading.Condition()
        self._done: dict[int, Text | BaseException] = {}
        self._waiting = 0  # characters in ``_done``
        self._handed_out = 0
        self._next = 0  # the number of the text that leaves next
        self._is_exhausted = False

    def take(self, most: int, *, waits: bool) -> Orders | None:
        """Returns up to ``most`` texts to generate, without any if the bounds allow none; None if there are no more.

        With ``waits``, it waits until there is one.
        """
        with self._condition:
            while True:
                if self._is_exhausted:
                    return None
                room = self._most - (self._handed_out - self._next)
                if room > 0 and self._waiting < MOST_WAITING:
                    break
                if not waits:
                    return Orders(self._handed_out, np.empty(0, np.uint64), [], [])
                self._condition.wait()
            wanted = min(most, room)
            if self._left is not None:
                wanted = min(wanted, max(1, self._left // (_SHARES * self._threads)))
            return self._hand_out(wanted)

    def _hand_out(self, wanted: int) -> Orders | None:
        try:
            taken = self._take(self._handed_out, wanted)
        except BaseException as error:
            taken = Orders(self._handed_out, np.empty(0, np.uint64), [], [])
            self._put(self._handed_out, error)
        self._handed_out += len(taken.seeds)
        if self._left is not None:
            self._left -= len(taken.seeds)
        if not len(taken.seeds) or self._left == 0:
            self._is_exhausted = True
            self._condition.notify_all()
        return taken if len(taken.seeds) else None

    def put(self, texts: list[tuple[int, Text]]) -> None:
        """Takes back texts with their numbers."""
        with self._condition:
            self._done.update(texts)
            self._waiting += sum([len(text.text) for _, text in texts])
            if self._next in self._done:
                self._condition.notify_all()

    def fail(self, error: BaseException) -> None:
        """Ends everything with ``error``, which comes in the place of the next text."""
        with self._condition:
            self._put(self._next, error)

    def _put(self, number: int, error: BaseException) -> None:
        self._done[number] = error
        self._is_exhausted = True
        self._condition.notify_all()

    def close(self) -> None:
        """Hands out nothing more."""
        with self._condition:
            self._is_exhausted = True
            self._condition.notify_all()

    def texts(self) -> Iterator[Text]:
        """Yields the texts in order. Raises the error that comes in the place of one."""
        while True:
            ready: list[Text | BaseException] = []
            with self._condition:
                while self._next not in self._done:
                    if self._is_exhausted and self._next == self._handed_out:
                        return
                    self._condition.wait()
                while self._next in self._done:
                    ready.append(self._done.pop(self._next))
                    self._next += 1
                self._waiting -= sum([len(one.text) for one in ready if isinstance(one, Text)])
                self._condition.notify_all()
            for one in ready:
                if isinstance(one, BaseException):
                    raise one
                yield one
