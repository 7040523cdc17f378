"""What ``nextchar bench`` sends, and how it counts."""

import math
from itertools import islice, pairwise
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import InvalidArgumentError
from nextchar_client.bench.generator import LoadGenerator
from nextchar_client.bench.histogram import Histogram, Percentiles
from nextchar_client.bench.load import Load, arrivals, requests
from nextchar_client.bench.measurement import Measurement
from nextchar_client.conversion import model

LOAD = Load(streams=1, requests=1)
TEXT = "To be, or not to be: that is the question.\n" * 20


def started() -> Measurement:
    """A measurement whose model is known and whose window has not opened."""
    measurement = Measurement(LOAD)
    measurement.model = model(pb.Model(name="tiny", digest="0123"))
    return measurement


def opened() -> Measurement:
    measurement = started()
    measurement.open()
    return measurement


@pytest.mark.parametrize("unit", [1e-5, 1e-3, 1.0])
def test_percentiles_of_a_known_set_are_within_half_a_percent(unit: float) -> None:
    histogram = Histogram()
    for rank in range(1, 1001):
        histogram.add(rank * unit)
    for percent in (0.1, 10, 50, 90, 99, 100):
        assert histogram.percentile(percent) == pytest.approx(percent * 10 * unit, rel=0.0051)


def test_a_weight_counts_as_so_many_durations() -> None:
    histogram = Histogram()
    histogram.add(0.001, 989)
    histogram.add(0.1, 11)
    assert histogram.percentiles() == Percentiles(
        p50=pytest.approx(0.001, rel=0.0051), p90=pytest.approx(0.001, rel=0.0051), p99=0.1, max=0.1
    )


def test_percentiles_of_equal_durations_are_exactly_these() -> None:
    histogram = Histogram()
    histogram.add(0.0123, 3)
    assert histogram.percentiles() == Percentiles(0.0123, 0.0123, 0.0123, 0.0123)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_a_duration_beyond_the_bins_is_kept(seconds: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.percentiles() == Percentiles(seconds, seconds, seconds, seconds)


def test_no_duration_has_no_percentiles() -> None:
    assert Histogram().percentiles() is None


@pytest.mark.parametrize("rate", [0.5, 20.0, 3000.0])
def test_arrivals_have_the_rate_and_the_spread_of_a_poisson_process(rate: float) -> None:
    times = [0.0, *islice(arrivals(Load(rate=rate, requests=1)), 20_000)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / rate, rel=0.03)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), rel=0.03)
    assert sum(gap > 2 * mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-2), rel=0.06)


def test_the_seed_decides_the_arrivals() -> None:
    first, again, other = (list(islice(arrivals(Load(rate=9, requests=1, seed=seed)), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_seed_decides_the_requests() -> None:
    first, again, other = (
        list(islice(requests(Load(streams=1, requests=1, seed=seed), "abc"), 50)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_no_two_requests_have_the_same_seed() -> None:
    seeds = {request.parameters.seed for request in islice(requests(LOAD, "abc"), 1000)}
    assert len(seeds) == 1000


def test_lengths_reach_from_the_least_to_the_most() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(0, 5), max_characters=(10, 13))
    sent = list(islice(requests(load, "abc", TEXT), 1000))
    assert {len(request.prompt) for request in sent} == set(range(6))
    assert {request.parameters.max_characters for request in sent} == {10, 11, 12, 13}


def test_prompts_are_cut_from_all_over_the_text() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    prompts = [request.prompt for request in islice(requests(LOAD, "", text), 2000)]
    assert all(prompt in text for prompt in prompts)
    assert set("".join(prompts)) == set(text)


def test_a_text_that_is_given_has_no_unknown_characters_or_is_an_error() -> None:
    assert not next(requests(LOAD, "abc", TEXT)).parameters.HasField("unknown_characters")


def test_without_a_text_prompts_are_of_the_alphabet_and_what_composes_is_skipped() -> None:
    sent = list(islice(requests(LOAD, ["e", "\u0301", "한"]), 100))
    assert set("".join(request.prompt for request in sent)) == {"e", "\u0301", "한"}
    assert {request.parameters.unknown_characters for request in sent} == {pb.UNKNOWN_CHARACTERS_SKIP}


def test_prompts_of_no_characters_need_no_alphabet() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(0, 0))
    assert next(requests(load, [])).prompt == ""


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"requests": 1}, "streams, rate: exactly one"),
        ({"streams": 1, "rate": 1.0, "requests": 1}, "streams, rate: exactly one"),
        ({"streams": 1}, "requests, seconds: exactly one"),
        ({"streams": 1, "requests": 1, "seconds": 1.0}, "requests, seconds: exactly one"),
        ({"streams": 0, "requests": 1}, "streams: 0 is not a number above 0"),
        ({"streams": 1, "requests": 0}, "requests: 0 is not a number above 0"),
        ({"rate": -1.0, "requests": 1}, "rate: -1.0 is not"),
        ({"rate": math.inf, "requests": 1}, "rate: inf is not"),
        ({"rate": math.nan, "requests": 1}, "rate: nan is not"),
        ({"streams": 1, "seconds": 0.0}, "seconds: 0.0 is not"),
        ({"streams": 1, "requests": 1, "timeout": 0.0}, "timeout: 0.0 is not"),
        ({"streams": 1, "requests": 1, "warm_up": -1}, "warm_up: -1 is not"),
        ({"streams": 1, "requests": 1, "ramp": -1.0}, "ramp: -1.0 is not"),
        ({"rate": 1.0, "requests": 1, "ramp": 1.0}, "ramp: an open loop has no callers"),
        ({"streams": 1, "requests": 1, "max_characters": (0, 5)}, "max_characters: 0 to 5"),
        ({"streams": 1, "requests": 1, "max_characters": (6, 5)}, "max_characters: 6 to 5"),
        ({"streams": 1, "requests": 1, "max_characters": (1, 2**32)}, "max_characters: 1 to 4294967296"),
        ({"streams": 1, "requests": 1, "prompt_characters": (-1, 5)}, "prompt_characters: -1 to 5"),
    ],
)
def test_a_load_that_cannot_be_sent_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        Load(**fields)


def test_a_text_shorter_than_the_longest_prompt_is_refused() -> None:
    load = Load(streams=1, requests=1, prompt_characters=(1, 4))
    LoadGenerator("127.0.0.1:1", load, "abcd")
    with pytest.raises(InvalidArgumentError, match="prompt_characters: 4 of them cannot be cut from a text of 3"):
        LoadGenerator("127.0.0.1:1", load, "ab\u0065\u0301")  # three characters in NFC


def test_a_gap_is_shared_by_the_characters_of_its_message() -> None:
    measurement = opened()
    measurement.characters_came(5, None)
    measurement.characters_came(98, 0.098)
    measurement.characters_came(2, 0.2)
    report = measurement.report()
    assert (report.characters, report.messages) == (105, 3)
    assert report.inter_character_seconds == Percentiles(
        p50=pytest.approx(0.001, rel=0.0051), p90=pytest.approx(0.001, rel=0.0051), p99=0.1, max=0.1
    )


def test_what_comes_outside_the_window_is_in_no_figure_of_the_window() -> None:
    measurement = started()
    measurement.characters_came(5, 0.5)
    measurement.request_completed(1.0, counts=False)
    measurement.open()
    measurement.close()
    measurement.characters_came(5, 0.5)
    measurement.request_completed(1.0, counts=False)
    report = measurement.report()
    assert (report.characters, report.messages, report.inter_character_seconds) == (0, 0, None)
    assert (report.characters_per_second, report.requests_per_second) == (0, 0)


def test_requests_count_that_are_sent_in_the_window_whenever_they_end() -> None:
    measurement = started()
    assert not measurement.request_sent()
    measurement.open()
    assert measurement.request_sent()
    assert measurement.request_sent()
    measurement.close()
    assert not measurement.request_sent()
    assert not measurement.is_complete
    measurement.request_completed(3.0, counts=True)
    measurement.request_completed(1.5, counts=True)
    report = measurement.report()
    assert (report.requests, report.completed, report.unfinished) == (2, 2, 0)
    assert (report.fastest_seconds, report.slowest_seconds) == (1.5, 3.0)
    assert measurement.is_complete


def test_a_failed_request_is_in_no_duration() -> None:
    measurement = opened()
    measurement.request_sent()
    measurement.request_failed("UNAVAILABLE", "gone")
    report = measurement.report()
    assert (report.requests, report.completed, report.failed, report.errors) == (1, 0, 1, {"UNAVAILABLE": 1})
    assert (report.fastest_seconds, report.slowest_seconds) == (None, None)


def test_the_first_complaint_of_each_status_is_kept() -> None:
    measurement = opened()
    for status, complaint in [("INTERNAL", "a"), ("UNAVAILABLE", "b"), ("INTERNAL", "c")]:
        measurement.request_failed(status, complaint)
    assert measurement.complaints == {"INTERNAL": "a", "UNAVAILABLE": "b"}


def test_a_closed_window_stays_as_it_is() -> None:
    measurement = opened()
    measurement.close()
    before = measurement.report()
    measurement.close()
    sum(range(100_000))  # uses time and CPU
    assert measurement.report() == before
