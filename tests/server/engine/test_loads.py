"""Loads of lanes: when rows move, and that they come to rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_server.engine.admission import Admission
from nextchar_server.engine.loads import LEAST
from nextchar_server.engine.stream import Stream
from tests.support.scripted_runner import stream_of

_MOST = 40


def started(rows: list[int]) -> tuple[Admission, list[list[Stream]]]:
    """Returns an admission, and the streams of each of its lanes, which have ``rows`` rows."""
    admission = Admission(lanes=len(rows), max_batch=_MOST, queue_size=len(rows) * _MOST)
    for number in range(len(rows) * _MOST):
        admission.submit(stream_of(1, caller=str(number)))
    lanes = [admission.admit(lane, 0) or [] for lane in range(len(rows))]
    for lane, count in enumerate(rows):
        for stream in lanes[lane][count:]:
            admission.withdraw(stream)
        del lanes[lane][count:]
        admission._loads.note(lane, count)  # as ``admit`` would, in which an empty lane sleeps
    return admission, lanes


def turn(admission: Admission, lanes: list[list[Stream]], lane: int) -> int:
    """Does as a lane at the start of a turn does; returns how many streams it handed over."""
    streams = lanes[lane]
    excess = admission.excess(lane, len(streams))
    moving, lanes[lane] = streams[:excess], streams[excess:]
    if excess:
        admission.hand_over(lane, len(lanes[lane]), moving)
    if lanes[lane] or admission.active > sum(map(len, lanes)):
        lanes[lane] += admission.admit(lane, len(lanes[lane])) or []
    return excess


@given(st.lists(st.integers(0, _MOST), min_size=1, max_size=4))
def test_rows_that_moved_once_stay_until_others_end(rows: list[int]) -> None:
    admission, lanes = started(rows)
    for lane in range(len(rows)):
        turn(admission, lanes, lane)
    for lane in range(len(rows)):  # a lane may have had its turn before the others handed over theirs
        turn(admission, lanes, lane)
    assert {stream for streams in lanes for stream in streams} == set(admission._streams)
    assert not any(turn(admission, lanes, lane) for lane in range(len(rows)))


@pytest.mark.parametrize(
    ("rows", "after"),
    [
        ([8, 0], [4, 4]),
        ([9, 0], [5, 4]),
        ([LEAST, 0], [LEAST // 2, LEAST // 2]),
        ([LEAST - 1, 0], [LEAST - 1, 0]),
        ([20, 10], [20, 10]),
        ([21, 10], [16, 15]),
        ([30, 30, 0], [20, 20, 20]),
        ([30, 0, 0], [10, 10, 10]),
        ([30], [30]),
    ],
)
def test_a_lane_with_more_than_twice_the_rows_of_another_keeps_its_even_share(
    rows: list[int], after: list[int]
) -> None:
    admission, lanes = started(rows)
    for lane in range(len(rows)):
        turn(admission, lanes, lane)
    for lane in range(len(rows)):
        turn(admission, lanes, lane)
    assert list(map(len, lanes)) == after


def test_a_stream_that_is_withdrawn_on_its_way_reaches_no_lane() -> None:
    admission, lanes = started([8, 0])
    moving = lanes[0][:4]
    admission.hand_over(0, 4, moving)
    admission.withdraw(moving[0])
    assert admission.admit(1, 0) == moving[1:]
    assert admission.active == 7


def test_streams_on_their_way_come_before_those_that_wait() -> None:
    admission, lanes = started([8, 1])
    moving = lanes[0][:4]
    admission.hand_over(0, 4, moving)
    admission.submit(stream_of(1))
    assert (admission.admit(1, 1) or [])[:4] == moving
