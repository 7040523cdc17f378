"""The time limit of a call, as callers give it: which values it may have. Imports no gRPC."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real

LONGEST_TIMEOUT = 365 * 24 * 3600
"""Longest time limit of a call, in seconds: a year. gRPC takes a limit of centuries for one that has passed."""


def seconds_of(timeout: object) -> float | None:
    """Returns ``timeout`` as a float of seconds; None stays None and means no limit.

    Raises ``ValueError`` if it is outside its range, ``TypeError`` if it isn't a number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, Real | Decimal):
        raise TypeError(f"timeout: {timeout!r} is not a number of seconds")
    try:
        seconds = float(timeout)
    except (OverflowError, ValueError):  # an integer beyond any float, a signaling NaN of decimal
        seconds = float("nan")
    if not 0 < seconds <= LONGEST_TIMEOUT:  # also for NaN
        raise ValueError(
            f"timeout: {timeout!r} is invalid; it must be above 0 and at most {LONGEST_TIMEOUT:,} seconds (a year); "
            "leave it out for no limit"
        )
    return seconds
