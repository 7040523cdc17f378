"""Fair admission: how callers share the places, the queue and the rows."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from nextchar_server.engine import admission as module
from nextchar_server.engine.admission import PushedOutError, QueueFullError, StalledError
from nextchar_server.engine.stream import Stream
from tests.support.callers import Pushed, admission_of, submitted


@pytest.fixture
def pushed() -> Pushed:
    return Pushed()


@pytest.fixture
def unread_at_once() -> Iterator[None]:
    """Makes a message unread as soon as it is there."""
    with patch.object(module, "UNREAD", 0.0):
        yield


# Places.


def test_one_caller_alone_may_have_all_places(pushed: Pushed) -> None:
    admission = admission_of(8, pushed)
    submitted(admission, 8, "hog")
    with pytest.raises(QueueFullError):
        submitted(admission, 1, "hog")
    assert not pushed.pushed


def test_a_newcomer_gets_the_place_of_the_newest_waiting_stream_of_the_caller_that_holds_the_most(
    pushed: Pushed,
) -> None:
    admission = admission_of(9, pushed)
    hog, other = submitted(admission, 6, "hog"), submitted(admission, 3, "other")
    submitted(admission, 1, "newcomer")
    assert pushed.streams == [hog[-1]]
    assert isinstance(pushed.pushed[0][1], PushedOutError)
    assert admission.waiting == 9
    assert all(stream in admission._streams for stream in other)


def test_callers_end_with_even_shares(pushed: Pushed) -> None:
    admission = admission_of(12, pushed)
    for caller in ("hog", "second", "third"):
        with pytest.raises(QueueFullError):
            submitted(admission, 13, caller)
    assert {name: caller.held for name, caller in admission._callers.items()} == {"hog": 4, "second": 4, "third": 4}


def test_of_more_callers_than_places_each_has_one_at_most(pushed: Pushed) -> None:
    admission = admission_of(3, pushed)
    submitted(admission, 3, "hog")
    submitted(admission, 1, "second")
    submitted(admission, 1, "third")
    with pytest.raises(QueueFullError):
        submitted(admission, 1, "fourth")
    assert sorted(admission._callers) == ["hog", "second", "third"]


def test_a_caller_at_its_even_share_pushes_nobody_out(pushed: Pushed) -> None:
    admission = admission_of(4, pushed)
    submitted(admission, 2, "one")
    submitted(admission, 2, "two")
    with pytest.raises(QueueFullError):
        submitted(admission, 1, "one")
    assert not pushed.pushed


def test_a_stream_that_runs_and_is_read_is_never_pushed_out(pushed: Pushed) -> None:
    admission = admission_of(4, pushed, rows=4)
    running = submitted(admission, 4, "hog")
    assert admission.admit(0, 0) == running
    with pytest.raises(QueueFullError):
        submitted(admission, 1, "newcomer")
    assert not pushed.pushed


def test_a_caller_is_owed_a_place_while_it_holds_less_than_its_share_and_another_more(pushed: Pushed) -> None:
    admission = admission_of(4, pushed)
    assert not admission.is_owed("newcomer")
    submitted(admission, 3, "hog")
    assert admission.is_owed("newcomer")
    assert not admission.is_owed("hog")
    submitted(admission, 2, "newcomer")
    assert not admission.is_owed("newcomer")


@pytest.mark.usefixtures("unread_at_once")
def test_if_none_waits_the_stream_that_is_unread_for_longest_is_pushed_out(pushed: Pushed) -> None:
    admission = admission_of(4, pushed, rows=4)
    running = submitted(admission, 4, "hog")
    admission.admit(0, 0)
    for stream in (running[2], running[1], running[3]):
        admission.begin_message(stream)
    admission.end_message(running[2])
    submitted(admission, 1, "newcomer")
    assert pushed.streams == [running[1]]
    assert isinstance(pushed.pushed[0][1], StalledError)


def test_a_message_that_was_just_written_does_not_make_a_stream_unread(pushed: Pushed) -> None:
    admission = admission_of(1, pushed)
    (stream,) = submitted(admission, 1, "hog")
    admission.admit(0, 0)
    with patch.object(module, "UNREAD", 1e9):
        admission.begin_message(stream)
        with pytest.raises(QueueFullError):
            submitted(admission, 1, "newcomer")
    assert not pushed.pushed


@pytest.mark.usefixtures("unread_at_once")
def test_a_paused_stream_that_is_pushed_out_never_returns(pushed: Pushed) -> None:
    admission = admission_of(2, pushed, rows=2)
    stream, other = submitted(admission, 2, "hog")
    admission.admit(0, 0)
    with patch.object(Stream, "is_full", True):
        admission.pause([stream])
    admission.begin_message(stream)
    (newcomer,) = submitted(admission, 1, "newcomer")
    assert pushed.streams == [stream]
    assert admission.paused == 0
    admission.resume(stream)
    admission.withdraw(stream)
    assert admission.admit(0, 1) == [newcomer]
    assert other in admission._streams


def test_streams_that_are_unread_for_too_long_are_pushed_out(pushed: Pushed) -> None:
    admission = admission_of(9, pushed, rows=9)
    streams = submitted(admission, 2, "one") + submitted(admission, 2, "two")
    admission.admit(0, 0)
    for stream in streams[1:3]:
        admission.begin_message(stream)
    admission.push_stalled(1e9)
    assert not pushed.pushed
    admission.push_stalled(0.0)
    assert pushed.streams == streams[1:3]
    assert all(isinstance(error, StalledError) for _, error in pushed.pushed)


# Rows.


def test_callers_take_turns_for_rows(pushed: Pushed) -> None:
    admission = admission_of(20, pushed, rows=6)
    hog = submitted(admission, 9, "hog")
    one, two = submitted(admission, 2, "one"), submitted(admission, 1, "two")
    assert admission.admit(0, 0) == [hog[0], one[0], two[0], hog[1], one[1], hog[2]]


def test_a_caller_whose_streams_come_and_go_does_not_keep_others_from_a_row(pushed: Pushed) -> None:
    admission = admission_of(20, pushed, rows=2)
    hog = submitted(admission, 2, "hog")
    admission.admit(0, 0)
    (waiting,) = submitted(admission, 1, "other")
    admitted: list[Stream] = []
    for _ in range(2):  # both of the hog's pause and return at once
        admission.pause(hog)
        admitted += admission.admit(0, 0) or []
    assert waiting in admitted


def test_withdrawing_takes_as_many_steps_however_long_the_queue_is(pushed: Pushed) -> None:
    admission = admission_of(3000, pushed)
    streams = submitted(admission, 3000, "hog")
    comparisons = 0

    def counted(self: object, other: object) -> bool:
        nonlocal comparisons
        comparisons += 1
        return self is other

    with patch.object(Stream, "__eq__", counted), patch.object(Stream, "__hash__", object.__hash__):
        for stream in streams[::-1][1::2] + streams[1::2]:
            admission.withdraw(stream)
    assert comparisons < 3000
    assert (admission.waiting, admission.active, admission.paused) == (0, 0, 0)
