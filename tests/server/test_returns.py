"""Refused callers come back when a place is likely, not all at once, and find that a place was kept for them."""

import random

import pytest

from nextchar_server.returns import LONGEST, MOST_PER_SECOND, SHORTEST, Returns


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def returns(clock: Clock, draw: float = 0.5) -> Returns:
    """The returns of a model, without chance."""
    return Returns(clock=clock, draw=lambda: draw)


def test_a_caller_waits_longer_the_more_wait_before_it(clock: Clock) -> None:
    places = returns(clock)
    places.delay()
    for _ in range(10):  # a place per 0.1 s
        clock.now += 0.1
        places.freed()
    delays = [places.delay() for _ in range(200)]
    assert delays == sorted(delays)
    assert delays[0] == SHORTEST
    assert 3.0 < delays[150] < LONGEST


def test_a_caller_waits_longer_the_slower_places_become_free(clock: Clock) -> None:
    def wait(seconds: float) -> float:
        places = returns(clock)
        places.delay()
        for _ in range(10):
            clock.now += seconds
            places.freed()
        return [places.delay() for _ in range(20)][-1]

    assert wait(0.01) < wait(0.2) < wait(0.6)


def test_callers_that_are_refused_together_come_back_apart(clock: Clock) -> None:
    places = Returns(clock=clock, draw=random.Random(1).random)
    delays = [places.delay() for _ in range(100)]
    assert len({round(delay, 3) for delay in delays}) > 50
    assert min(delays) < 0.75 * max(delays)


def test_a_great_many_come_back_at_a_bounded_rate(clock: Clock) -> None:
    places = Returns(clock=clock, draw=random.Random(1).random)
    delays = [places.delay() for _ in range(5000)]
    seconds = max(delays)
    assert seconds > 5000 / MOST_PER_SECOND
    in_a_second = [sum(start <= delay < start + 1 for delay in delays) for start in range(int(seconds))]
    assert max(in_a_second) < 3 * MOST_PER_SECOND


def test_a_place_is_kept_from_who_just_had_it_while_refused_callers_are_expected(clock: Clock) -> None:
    places = returns(clock)
    places.delay()
    for _ in range(10):
        clock.now += 0.01
        places.freed()
    clock.now += 0.002
    assert places.are_expected()
    assert places.keeps(1, 0)
    assert not places.keeps(1, 5)  # refused five times already
    clock.now += 0.03
    assert not places.keeps(1, 0)  # nobody came
    clock.now += 10.0
    assert not places.are_expected()


def test_places_that_have_been_free_for_long_are_for_everyone(clock: Clock) -> None:
    places = returns(clock)
    places.delay()
    clock.now += 0.1
    places.freed()
    assert places.keeps(1, 0)
    assert not places.keeps(2, 0)
