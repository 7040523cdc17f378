"""Loads that are never even, so that streams move between lanes all the time."""

from nextchar_server.engine.loads import Loads


class RestlessLoads(Loads):
    """Replaces ``Loads``: each lane hands over half of its rows in every turn, and doesn't take them back at once."""

    _sender = -1

    def is_uneven(self, rows: int) -> bool:
        return rows > 1

    def excess(self, lane: int, wanting: int) -> int:
        self._sender = lane
        return self._rows[lane] // 2

    def room(self, lane: int, wanting: int) -> int:
        if lane == self._sender:
            self._sender = -1
            return 0
        return super().room(lane, wanting)
