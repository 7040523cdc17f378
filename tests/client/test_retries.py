"""How long a call that was turned away pauses before it is tried again, and when it is not."""

import asyncio
import time
from itertools import count

import grpc
import grpc.aio
import pytest

from nextchar_client.retries import MOST_PAUSE, MOST_SECONDS, Retries

Status = grpc.StatusCode
HOUR = "3600000"


def failure(status: Status, details: str = "", **trailers: str) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*((key.replace("_", "-"), value) for key, value in trailers.items()))
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), metadata, details)


class Clock:
    """Time that passes in pauses alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    return clock


async def tries(retries: Retries, error: grpc.aio.AioRpcError | None) -> int:
    for number in count(1):
        if not await retries.pause(error):
            return number
    raise AssertionError


async def test_an_hour_that_a_server_asks_for_is_cut(clock: Clock) -> None:
    await tries(Retries(None), failure(Status.RESOURCE_EXHAUSTED, grpc_retry_pushback_ms=HOUR))
    assert clock.pauses
    assert max(clock.pauses) <= MOST_PAUSE * 1.25
    assert clock.now <= MOST_SECONDS


async def test_a_call_that_is_turned_away_for_ever_ends(clock: Clock) -> None:
    assert await tries(Retries(None), failure(Status.RESOURCE_EXHAUSTED)) > 5
    assert clock.now <= MOST_SECONDS


async def test_a_call_that_no_server_takes_has_five_tries(clock: Clock) -> None:
    assert await tries(Retries(None), failure(Status.UNAVAILABLE)) == 5


async def test_one_that_none_of_several_servers_takes_is_tried_ten_times(clock: Clock) -> None:
    assert await tries(Retries(None, servers=2), failure(Status.UNAVAILABLE)) == 10


@pytest.mark.parametrize("error", [failure(Status.UNAVAILABLE), None])
async def test_new_text_brings_new_tries_and_time_for_them(clock: Clock, error: grpc.aio.AioRpcError | None) -> None:
    retries = Retries(None)
    for _ in range(3):
        clock.now += 10 * MOST_SECONDS
        retries.progressed()
        began = clock.now
        assert await tries(retries, error) == 10
        assert 5 < clock.now - began < MOST_SECONDS


async def test_no_pause_outlasts_the_timeout_of_the_call(clock: Clock) -> None:
    retries = Retries(0.25)
    await tries(retries, failure(Status.RESOURCE_EXHAUSTED))
    assert clock.now < 0.25
    assert retries.seconds_left is not None
    assert 0 < retries.seconds_left <= 0.25


@pytest.mark.parametrize(
    "error",
    [
        failure(Status.INVALID_ARGUMENT),
        failure(Status.DEADLINE_EXCEEDED),
        failure(Status.INTERNAL, request_id="r1"),
        failure(Status.UNKNOWN, request_id="r1"),
        failure(Status.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)"),
        failure(Status.RESOURCE_EXHAUSTED, grpc_retry_pushback_ms="-1"),
        failure(Status.UNAVAILABLE, grpc_retry_pushback_ms="soon"),
        failure(Status.CANCELLED, request_id="r1"),
    ],
)
async def test_a_failure_that_would_come_again_is_not_tried_again(clock: Clock, error: grpc.aio.AioRpcError) -> None:
    assert await tries(Retries(None), error) == 1
    assert clock.pauses == []


@pytest.mark.parametrize("status", [Status.INTERNAL, Status.UNKNOWN])
async def test_a_status_that_no_server_gave_is_tried_again(clock: Clock, status: Status) -> None:
    assert await tries(Retries(None), failure(status)) == 5


async def test_a_call_that_grpc_dropped_at_the_servers_door_is_tried_again(clock: Clock) -> None:
    assert await Retries(None).pause(failure(Status.CANCELLED))


async def test_callers_that_are_turned_away_together_come_back_apart(clock: Clock) -> None:
    for _ in range(20):
        await Retries(None).pause(failure(Status.RESOURCE_EXHAUSTED, grpc_retry_pushback_ms="500"))
    assert len(set(clock.pauses)) > 10
    assert min(clock.pauses) >= 0.5
