"""Admission: who waits, who gets a row, and who is refused."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from nextchar_server.engine.admission import Admission, QueueFullError
from nextchar_server.engine.stream import OUTBOX_IDS, IdChunk, Stream
from tests.support.scripted_runner import PATIENCE, stream_of


def submitted(admission: Admission, count: int, caller: str = "") -> list[Stream]:
    """Submits ``count`` streams of ``caller``."""
    streams = [stream_of(1, caller=caller) for _ in range(count)]
    for stream in streams:
        admission.submit(stream)
    return streams


def full(admission: Admission) -> Stream:
    """Returns a stream that left the queue for a row, and whose reader is behind."""
    (stream,) = submitted(admission, 1)
    assert admission.admit(0, 0) == [stream]
    stream.put(IdChunk(np.ones(OUTBOX_IDS, np.int32)))
    return stream


def test_streams_get_rows_in_the_order_in_which_they_came() -> None:
    admission = Admission(lanes=1, max_batch=3, queue_size=9)
    streams = submitted(admission, 5)
    assert admission.admit(0, 0) == streams[:3]
    assert admission.admit(0, 2) == [streams[3]]
    assert admission.admit(0, 1) == [streams[4]]


def test_a_lane_takes_no_more_than_its_even_share() -> None:
    admission = Admission(lanes=3, max_batch=10, queue_size=9)
    streams = submitted(admission, 7)
    assert admission.admit(0, 0) == streams[:3]
    assert admission.admit(1, 0) == streams[3:6]
    assert admission.admit(2, 0) == streams[6:]


def test_a_lane_that_runs_is_not_kept_waiting() -> None:
    assert Admission(lanes=1, max_batch=3, queue_size=9).admit(0, 2) == []


def test_a_full_lane_takes_no_stream() -> None:
    admission = Admission(lanes=1, max_batch=2, queue_size=9)
    submitted(admission, 3)
    admission.admit(0, 0)
    assert admission.admit(0, 2) == []
    assert admission.waiting == 1


@pytest.mark.parametrize(("lanes", "max_batch", "queue_size"), [(1, 1, 0), (1, 4, 0), (2, 1, 0), (2, 3, 5), (1, 1, 7)])
def test_the_queue_takes_exactly_queue_size_streams_beyond_the_free_rows(
    lanes: int, max_batch: int, queue_size: int
) -> None:
    admission = Admission(lanes=lanes, max_batch=max_batch, queue_size=queue_size)
    submitted(admission, lanes * max_batch + queue_size)
    with pytest.raises(QueueFullError):
        admission.submit(stream_of(1))
    for lane in range(lanes):
        admission.admit(lane, 0)
    with pytest.raises(QueueFullError):
        admission.submit(stream_of(1))
    assert admission.waiting == queue_size


def test_a_refused_stream_leaves_no_trace() -> None:
    admission = Admission(lanes=1, max_batch=1, queue_size=0)
    streams = submitted(admission, 1)
    with pytest.raises(QueueFullError):
        admission.submit(stream_of(1))
    assert admission.admit(0, 0) == streams
    assert admission.waiting == 0


def test_a_stream_that_is_released_makes_a_place() -> None:
    admission = Admission(lanes=1, max_batch=2, queue_size=0)
    first, _ = submitted(admission, 2)
    admission.admit(0, 0)
    admission.withdraw(first)
    submitted(admission, 1)
    with pytest.raises(QueueFullError):
        admission.submit(stream_of(1))


def test_a_withdrawn_stream_leaves_the_queue() -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    first, second, third = submitted(admission, 3)
    admission.withdraw(second)
    assert admission.waiting == 2
    assert admission.admit(0, 0) == [first, third]


def test_withdrawing_a_stream_that_was_not_submitted_is_no_error() -> None:
    admission = Admission(lanes=1, max_batch=1, queue_size=0)
    admission.withdraw(stream_of(1))
    assert (admission.waiting, admission.active, admission.paused) == (0, 0, 0)


async def test_a_paused_stream_stays_out_until_its_reader_has_caught_up() -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    stream = full(admission)
    admission.pause([stream])
    assert stream.paused
    assert admission.paused == 1
    assert admission.admit(0, 1) == []
    stream.take()
    admission.resume(stream)
    assert not stream.paused
    assert admission.admit(0, 1) == [stream]
    assert admission.paused == 0


async def test_a_stream_whose_reader_caught_up_just_before_the_pause_comes_back_at_once() -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    stream = full(admission)
    stream.take()
    admission.pause([stream])
    assert not stream.paused
    assert admission.admit(0, 1) == [stream]


def test_a_stream_that_was_cancelled_before_the_pause_is_forgotten() -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    stream = full(admission)
    admission.withdraw(stream)
    admission.pause([stream])
    assert admission.paused == 0


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_paused_stream_that_is_withdrawn_is_forgotten(resumed: bool) -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    stream = full(admission)
    admission.pause([stream])
    if resumed:
        stream.take()
        admission.resume(stream)
    admission.withdraw(stream)
    assert admission.paused == 0
    assert admission.admit(0, 1) == []


async def test_a_returning_stream_goes_before_waiting_ones() -> None:
    admission = Admission(lanes=1, max_batch=2, queue_size=9)
    stream = full(admission)
    admission.pause([stream])
    waiting = submitted(admission, 3)
    stream.take()
    admission.resume(stream)
    assert admission.admit(0, 0) == [stream, waiting[0]]


async def test_resuming_twice_returns_the_stream_once() -> None:
    admission = Admission(lanes=1, max_batch=9, queue_size=9)
    stream = full(admission)
    admission.pause([stream])
    stream.take()
    admission.resume(stream)
    admission.resume(stream)
    assert admission.admit(0, 0) == [stream]


def sleeping(pool: ThreadPoolExecutor, admission: Admission, lane: int) -> Future[list[Stream] | None]:
    """Starts a lane of ``admission`` that has nothing to do."""
    return pool.submit(admission.admit, lane, 0)


def test_a_stream_wakes_a_sleeping_lane() -> None:
    admission = Admission(lanes=1, max_batch=1, queue_size=1)
    with ThreadPoolExecutor() as pool:
        lane = sleeping(pool, admission, 0)
        assert not lane.done()
        streams = submitted(admission, 1)
        assert lane.result(PATIENCE) == streams


async def test_a_returning_stream_wakes_a_sleeping_lane() -> None:
    admission = Admission(lanes=2, max_batch=1, queue_size=1)
    stream = full(admission)
    admission.pause([stream])
    stream.take()
    with ThreadPoolExecutor() as pool:
        lane = sleeping(pool, admission, 1)
        admission.resume(stream)
        assert lane.result(PATIENCE) == [stream]


def test_closing_ends_every_lane() -> None:
    admission = Admission(lanes=3, max_batch=1, queue_size=1)
    with ThreadPoolExecutor() as pool:
        lanes = [sleeping(pool, admission, lane) for lane in range(3)]
        admission.close()
        assert [lane.result(PATIENCE) for lane in lanes] == [None] * 3
    assert admission.admit(0, 5) is None


async def test_a_paused_stream_still_counts_against_the_bound() -> None:
    admission = Admission(lanes=1, max_batch=2, queue_size=0)
    slow, fast = (stream_of(10_000) for _ in range(2))
    admission.submit(slow)
    admission.submit(fast)
    assert admission.admit(0, 0) == [slow, fast]
    slow.put(IdChunk(np.ones(OUTBOX_IDS, np.int32)))
    admission.pause([slow])
    assert admission.admit(0, 1) == []
    with pytest.raises(QueueFullError):
        admission.submit(stream_of(1))


async def test_a_stream_whose_reader_caught_up_while_it_left_wakes_a_sleeping_lane() -> None:
    admission = Admission(lanes=2, max_batch=4, queue_size=4)
    (stream,) = submitted(admission, 1)
    assert admission.admit(0, 0) == [stream]
    asleep = asyncio.create_task(asyncio.to_thread(admission.admit, 1, 0))
    while not admission._condition._waiters:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    admission.pause([stream])  # not full: it returns at once
    async with asyncio.timeout(60):
        assert await asleep == [stream]
