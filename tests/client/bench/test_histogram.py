"""The histogram that percentiles of durations are read from."""

from dataclasses import astuple

import pytest

from nextchar_client.bench.histogram import Histogram, Percentiles


@pytest.mark.parametrize("unit", [1e-5, 1e-3, 1.0])
def test_percentiles_of_a_known_set_are_within_half_a_percent(unit: float) -> None:
    histogram = Histogram()
    for rank in range(1, 1001):
        histogram.add(rank * unit)
    for percent in (0.1, 10, 50, 90, 99, 100):
        assert histogram.percentile(percent) == pytest.approx(percent * 10 * unit, rel=0.0051)


def test_a_weight_counts_as_that_many_durations() -> None:
    histogram = Histogram()
    histogram.add(0.001, 989)
    histogram.add(0.1, 11)
    percentiles = histogram.percentiles()
    assert percentiles is not None
    assert astuple(percentiles) == pytest.approx((0.001, 0.001, 0.1, 0.1), rel=0.0051)


def test_percentiles_of_equal_durations_are_exact() -> None:
    histogram = Histogram()
    histogram.add(0.0123, 3)
    assert histogram.percentiles() == Percentiles(0.0123, 0.0123, 0.0123, 0.0123)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_a_duration_beyond_the_bins_is_kept(seconds: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.percentiles() == Percentiles(seconds, seconds, seconds, seconds)


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None
