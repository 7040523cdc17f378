"""Which time limits of a call there are."""

import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from nextchar_client.deadline import LONGEST_TIMEOUT, seconds_of


@pytest.mark.parametrize("timeout", [1e-9, 1, 2.5, LONGEST_TIMEOUT, Decimal("0.5"), Fraction(1, 3), 5e-324])
def test_a_number_of_seconds_is_a_float(timeout: Any) -> None:
    assert seconds_of(timeout) == float(timeout)
    assert type(seconds_of(timeout)) is float


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert [seconds_of(numpy.float32(1.5)), seconds_of(numpy.float64(2)), seconds_of(numpy.int64(3))] == [1.5, 2, 3]


def test_none_stays_none() -> None:
    assert seconds_of(None) is None


@pytest.mark.parametrize(
    "timeout",
    [
        *(0, -1, -1e-9, float("nan"), float("inf"), float("-inf"), 1e300, 10**400, threading.TIMEOUT_MAX),
        *(LONGEST_TIMEOUT + 1, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")),
    ],
)
def test_a_number_outside_the_range_is_refused_with_the_range(timeout: Any) -> None:
    with pytest.raises(ValueError, match="must be above 0 and at most 31,536,000 seconds"):
        seconds_of(timeout)


@pytest.mark.parametrize("timeout", [True, False, "5", b"5", [5], 5j])
def test_another_type_is_a_type_error(timeout: Any) -> None:
    with pytest.raises(TypeError, match=r"timeout: .* is not a number of seconds"):
        seconds_of(timeout)
