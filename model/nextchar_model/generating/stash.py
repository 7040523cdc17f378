"""The stash: texts that a thread has taken and not started yet.

A thread takes many short texts at once, and makes the first random numbers of all of them in one pass.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..draws import uniforms
from .orders import OrderBook, Orders
from .row_draws import FIRST

_SHORT = 64  # mean ids of texts that are taken in advance
_MOST = 256  # of them


class Taken(NamedTuple):
    """Texts to start now, and the first random numbers of each, [texts, FIRST]."""

    orders: Orders
    draws: NDArray[np.float32]


class Stash:
    """The stash of one thread."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._taken = Taken(Orders(0, np.empty(0, np.uint64), [], []), np.empty((0, FIRST), np.float32))
        self._used = 0
        self.is_exhausted = False
        """Whether there are no more texts."""

    def take(self, most: int, *, mean: float, waits: bool) -> Taken | None:
        """Returns up to ``most`` texts to start; None if there are none now, for which it ``waits`` or not.

        Texts have ``mean`` ids.
        """
        wanted = max(most, _MOST) if mean <= _SHORT else most
        if self._used == len(self._taken.draws) and (self.is_exhausted or not self._refill(wanted, waits=waits)):
            return None
        (first, seeds, plans, starts), draws = self._taken
        part = slice(self._used, min(self._used + most, len(draws)))
        self._used = part.stop
        return Taken(Orders(first + part.start, seeds[part], plans[part], starts[part]), draws[part])

    def _refill(self, most: int, *, waits: bool) -> bool:
        orders = self._book.take(most, waits=waits)
        if orders is None:
            self.is_exhausted = True
            return False
        draws = uniforms(orders.seeds, np.zeros(len(orders.seeds), np.int64), FIRST)
        self._taken, self._used = Taken(orders, draws), 0
        return len(draws) > 0
