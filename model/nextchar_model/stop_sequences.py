"""Stop sequences: finds them in a text that comes in parts.

The server asks after each part whether one has come, or may be coming; the generator, when a text ends.
"""

from __future__ import annotations

from collections.abc import Sequence


def first_stop(text: str, stop_sequences: Sequence[str]) -> tuple[int, str] | None:
    """Returns (end, stop sequence) of the one that ends first; the longest if several end at the same place."""
    found = [(start + len(stop), stop) for stop in stop_sequences if (start := text.find(stop)) >= 0]
    return min(found, key=lambda match: (match[0], -len(match[1])), default=None)


def possible_prefix(text: str, stop_sequences: Sequence[str]) -> int:
    """Returns the length of the longest suffix of ``text`` that is a prefix of a stop sequence."""
    longest = 0
    for stop in stop_sequences:
        start = max(0, len(text) - len(stop) + 1)
        while (start := text.find(stop[0], start, len(text) - longest)) >= 0:
            if stop.startswith(text[start:]):
                longest = len(text) - start
            start += 1
    return longest
