"""A record: a text of a batch, and the fields that it is split into."""

from __future__ import annotations

from typing import NamedTuple


class Record(NamedTuple):
    """A text of a batch."""

    number: int
    """Number of the text among all that the batch made, counted from 0, those that were left out included."""
    text: str
    """The text."""
    fields: tuple[str, ...]
    """The text split at the delimiter; empty without columns."""
    finish_reason: str
    """Why it ended; a value of ``FinishReason``."""
