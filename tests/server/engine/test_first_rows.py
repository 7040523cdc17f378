"""The first rows of a caller: few, until its readers take their messages."""

import pytest

from nextchar_server.engine.admission import Admission
from nextchar_server.engine.caller import FIRST_ROWS
from nextchar_server.engine.stream import Stream
from tests.support.callers import Pushed, admission_of, submitted
from tests.support.scripted_runner import stream_of

ROWS = 10 * FIRST_ROWS


@pytest.fixture
def admission() -> Admission:
    return admission_of(2 * ROWS, Pushed(), rows=ROWS)


def admitted(admission: Admission, load: int) -> list[Stream]:
    """Returns the streams that a lane of ``load`` streams takes in."""
    streams = admission.admit(0, load)
    assert streams is not None
    return streams


def read_one(admission: Admission, stream: Stream) -> None:
    """Lets the reader of ``stream`` take a message."""
    admission.begin_message(stream)
    admission.end_message(stream)


def test_a_caller_gets_few_rows_at_first(admission: Admission) -> None:
    submitted(admission, ROWS, "one")
    assert len(admitted(admission, 0)) == FIRST_ROWS
    assert admitted(admission, FIRST_ROWS) == []


def test_each_reader_that_takes_a_message_doubles_what_it_gets(admission: Admission) -> None:
    submitted(admission, ROWS, "one")
    first = admitted(admission, 0)
    for stream in first:
        read_one(admission, stream)
    assert len(admitted(admission, FIRST_ROWS)) == 2 * FIRST_ROWS


def test_a_second_message_of_a_stream_counts_no_more(admission: Admission) -> None:
    submitted(admission, ROWS, "one")
    first = admitted(admission, 0)
    for _ in range(10):
        read_one(admission, first[0])
    assert len(admitted(admission, FIRST_ROWS)) == 2


def test_a_stream_that_leaves_makes_room_for_another(admission: Admission) -> None:
    submitted(admission, ROWS, "one")
    admission.withdraw(admitted(admission, 0)[0])
    assert len(admitted(admission, FIRST_ROWS - 1)) == 1


def test_other_callers_get_rows_of_their_own(admission: Admission) -> None:
    submitted(admission, ROWS, "hog")
    submitted(admission, 5, "other")
    assert sum(stream.caller == "other" for stream in admitted(admission, 0)) == 5


def test_streams_that_only_read_are_not_counted(admission: Admission) -> None:
    for _ in range(2 * FIRST_ROWS):
        admission.submit(stream_of(0, caller="one"))
    assert len(admitted(admission, 0)) == 2 * FIRST_ROWS
