"""Callers who leave: addresses whose requests of the API are cancelled soon, again and again.

Stands in ``asgi``, before a body is read. A request that is cancelled costs the server as much as many characters, and
its caller next to nothing. By gRPC, ``resets`` holds back the connections that do so. By HTTP, the end of a connection
cancels its request, so addresses are counted: of IPv6, networks of 64 bits.

Invariant: over time, an address costs the server no more cancelled requests than ``BURST`` and ``RATE`` per second, one
more for each that ends well, and those that run at once. Used on the loop of the HTTP port.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

from ..rpc.resets import BURST, LONGEST, RATE, SHORTEST, SOON

_MOST = 10_000
"""Addresses that are remembered: those whose requests were cancelled latest."""


@dataclass
class _Record:
    """The requests of one address."""

    at: float
    level: float = 0.0
    """Requests above those that it may cancel for ever."""
    held_until: float = 0.0


class Leavers:
    """The addresses that cancel requests. Times are in seconds, of one clock."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Returns the seconds for which ``address`` is still held back; 0 if it isn't."""
        record = self._records.get(_network(address))
        return 0.0 if record is None else max(0.0, record.held_until - now)

    def count(self, address: str, seconds: float, now: float, *, is_cancelled: bool) -> None:
        """Notes a request of ``address`` that ended after ``seconds``."""
        network = _network(address)
        if (record := self._records.get(network)) is None:
            if not is_cancelled or seconds >= SOON:
                return
            record = self._records[network] = _Record(now)
            if len(self._records) > _MOST:
                self._records.popitem(last=False)
        record.level = max(0.0, record.level - RATE * (now - record.at))
        record.at = now
        if not is_cancelled:
            record.level = max(0.0, record.level - 1)
        elif seconds < SOON:
            record.level += 1
            self._records.move_to_end(network)
        if record.level > BURST:
            record.held_until = now + min(LONGEST, max(SHORTEST, record.level / RATE))
            record.level = 0.0


def _network(address: str) -> str:
    """Returns the network of addresses that one caller may have."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # such as one with a zone
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> 64)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
