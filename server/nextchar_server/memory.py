"""The memory budget: the bytes that callers make the server hold, shared among their connections.

A call holds a part of the budget from its message on. Before it makes the server keep more (a prompt, an outbox, an
answer), its part grows, or the call is refused; the part is given back when nothing of the call is left.

Invariant: all calls together hold at most the budget, and a connection never gets more than ``SHARE`` times the
rest. So one connection alone has up to 3/4 of the budget, n connections that want all have 3 / (3n + 1) each, and
whoever comes next finds room. The rule is that of shared buffers of network switches: A. K. Choudhury, E. L. Hahne,
"Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking 6 (2), 1998.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable
from contextvars import ContextVar

SHARE = 3
"""How many times the rest of the budget a connection may hold. More leaves less to those who come next."""


LARGE = 512 * 2**10
"""Bytes from which a call is large. A stream of text is smaller, whatever it asks for."""

LARGE_SHARE = 3 / 4
"""Part of the budget that large calls may fill, so that streams find room beside any number of them."""


class MemoryFullError(Exception):
    """The budget has no room for a call."""

    def __init__(self, size: int, used: int, budget: int) -> None:
        """``size`` more bytes were wanted; ``used`` of ``budget`` bytes are held."""
        super().__init__(
            f"the server has no memory for this call: it needs {_mebibytes(size)}, and calls hold {_mebibytes(used)} "
            f"of {_mebibytes(budget)}, shared among their connections"
        )


class Budget:
    """The bytes that all calls of a server may hold. For any thread: bodies by HTTP come in another one."""

    def __init__(self, size: int) -> None:
        """``size`` is in bytes."""
        self.size = size
        self.used = 0
        """Bytes that are held."""
        self._lock = threading.RLock()
        self._held: dict[str, int] = {}  # by connection; those that hold nothing are absent
        self._shared: Counter[tuple[str, Hashable]] = Counter()  # calls that share something, by connection

    def hold(self, connection: str, size: int) -> Holding:
        """Takes ``size`` bytes for a call of ``connection``. Raises ``MemoryFullError``."""
        holding = Holding(self, connection)
        holding.grow(size)
        return holding

    def _take(self, connection: str, size: int, *, is_large: bool) -> None:
        with self._lock:
            held = self._held.get(connection, 0) + size
            rest = self.size - self.used - size
            if held > SHARE * rest or (is_large and rest < (1 - LARGE_SHARE) * self.size):
                raise MemoryFullError(size, self.used, self.size)
            self._held[connection] = held
            self.used += size

    def _share(self, connection: str, owned: Hashable, size: int, most: int) -> None:
        with self._lock:
            if self._shared[connection, owned] < most:
                self._take(connection, size, is_large=size > LARGE)
            self._shared[connection, owned] += 1

    def _unshare(self, connection: str, owned: Hashable, size: int, most: int) -> None:
        with self._lock:
            self._shared[connection, owned] -= 1
            if self._shared[connection, owned] < most:
                self._give_back(connection, size)
            if not self._shared[connection, owned]:
                del self._shared[connection, owned]

    def _give_back(self, connection: str, size: int) -> None:
        with self._lock:
            self.used -= size
            left = self._held.pop(connection) - size
            if left:
                self._held[connection] = left


class Holding:
    """The part of the budget that one call holds."""

    __slots__ = ("_budget", "_shares", "_size", "connection")

    def __init__(self, budget: Budget, connection: str) -> None:
        self._budget = budget
        self._size = 0
        self._shares: list[tuple[Hashable, int, int]] = []
        self.connection = connection
        """The connection of the call, as gRPC names its peer."""

    def grow(self, size: int) -> None:
        """Takes ``size`` more bytes. Raises ``MemoryFullError``, and then holds as much as before."""
        self._budget._take(self.connection, size, is_large=self._size + size > LARGE)
        self._size += size

    def share(self, owned: Hashable, size: int, *, most: int = 1) -> None:
        """Takes the ``size`` bytes of ``owned``, unless ``most`` other calls of the connection have taken them already.

        Raises ``MemoryFullError``.
        """
        self._budget._share(self.connection, owned, size, most)
        self._shares.append((owned, size, most))

    def require(self, size: int) -> None:
        """Grows to ``size`` bytes, if it holds fewer. Raises ``MemoryFullError``."""
        if size > self._size:
            self.grow(size - self._size)

    def shrink(self, size: int) -> None:
        """Returns all but ``size`` bytes to the budget, if it holds more."""
        if self._size > size:
            self._budget._give_back(self.connection, self._size - size)
            self._size = size

    def release(self) -> None:
        """Returns everything to the budget."""
        if self._size:
            self._budget._give_back(self.connection, self._size)
            self._size = 0
        while self._shares:
            self._budget._unshare(self.connection, *self._shares.pop())


current: ContextVar[Holding] = ContextVar("holding")
"""The part of the budget of the call that is being handled."""


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
