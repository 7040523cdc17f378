"""Why a stream has no place, or lost it."""

from __future__ import annotations


class QueueFullError(Exception):
    """The queue has no place for another stream of this caller."""

    def __init__(self, held: int) -> None:
        """``held`` is the number of streams that have a place."""
        super().__init__(f"the server is full: it holds {held} requests already")


class PushedOutError(Exception):
    """The stream lost its place in the queue to a caller that holds fewer."""


class StalledError(Exception):
    """The stream ended because its reader didn't take its messages."""
