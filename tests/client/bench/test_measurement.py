"""How ``nextchar bench`` counts the answers of a server."""

from dataclasses import astuple

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client.bench.load import Load
from nextchar_client.bench.measurement import Measurement
from nextchar_client.conversion import model

LOAD = Load(streams=1, requests=1)


def started() -> Measurement:
    """A measurement whose model is known and whose window has not opened."""
    measurement = Measurement(LOAD)
    measurement.model = model(pb.Model(name="tiny", digest="0123"))
    return measurement


def opened() -> Measurement:
    measurement = started()
    measurement.open()
    return measurement


def test_a_gap_is_shared_by_the_characters_of_its_message() -> None:
    measurement = opened()
    measurement.characters_came(5, None)
    measurement.characters_came(98, 0.098)
    measurement.characters_came(2, 0.2)
    report = measurement.report()
    assert (report.characters, report.messages) == (105, 3)
    assert report.inter_character_seconds is not None
    assert astuple(report.inter_character_seconds) == pytest.approx((0.001, 0.001, 0.1, 0.1), rel=0.0051)


def test_an_answer_outside_the_window_is_in_no_figure_of_the_window() -> None:
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


def test_requests_sent_in_the_window_count_whenever_they_end() -> None:
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
