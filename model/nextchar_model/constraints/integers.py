"""Ranges of whole numbers, as regular expressions of their decimal digits. ``json_schema`` writes bounds with them."""

from __future__ import annotations


def between(low: int, high: int) -> str:
    """Returns the expression of the integers from ``low`` to ``high``, in decimal, without leading zeros.

    Raises ``ValueError`` if ``low`` is above ``high``.
    """
    if low > high:
        raise ValueError(f"no integer from {low} to {high}")
    parts = []
    if low < 0:
        parts += [f"-{one}" for one in _natural(max(1, -high), -low)]
    if high >= 0:
        parts += _natural(max(0, low), high)
    return f"(?:{'|'.join(parts)})"


def _natural(low: int, high: int) -> list[str]:
    """Returns expressions of the natural numbers from ``low`` to ``high``, each of numbers of one length."""
    return [_of_length(str(first), str(last)) for first, last in _pieces(low, high)]


def _pieces(low: int, high: int) -> list[tuple[int, int]]:
    """Returns ranges that make up ``low`` to ``high``, in each of which the digits vary independently of each other."""
    ends = {high}
    power = 10
    while (end := low // power * power + power - 1) < high:
        ends.add(end)
        power *= 10
    power = 10
    while (end := (high + 1) // power * power - 1) >= low:
        ends.add(end)
        power *= 10
    pieces = []
    for end in sorted(ends):
        pieces.append((low, end))
        low = end + 1
    return pieces


def _of_length(first: str, last: str) -> str:
    digits = ""
    free = 0
    for low, high in zip(first, last, strict=True):
        if (low, high) == ("0", "9"):
            free += 1
        else:
            digits += low if low == high else f"[{low}-{high}]"
    return digits + (f"[0-9]{{{free}}}" if free else "")
