"""Refusals that wait: connections that don't keep to their delays."""

from __future__ import annotations

import pytest

from nextchar_server.rpc.refusals import AT_ONCE, RATE, Refusals
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock=clock)


def test_the_first_refusals_of_a_connection_are_sent_at_once(refusals: Refusals) -> None:
    assert [refusals.pause("a", 1.0) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_later_ones_wait_for_a_part_of_their_delay(refusals: Refusals) -> None:
    for _ in range(AT_ONCE):
        refusals.pause("a", 1.0)
    assert 0 < refusals.pause("a", 0.5) < 0.5


def test_no_refusal_waits_for_long(refusals: Refusals) -> None:
    for _ in range(AT_ONCE):
        refusals.pause("a", 30.0)
    assert 0 < refusals.pause("a", 30.0) <= 1.0


def test_refusals_that_came_together_are_not_sent_together(refusals: Refusals) -> None:
    for _ in range(AT_ONCE):
        refusals.pause("a", 1.0)
    assert len({refusals.pause("a", 1.0) for _ in range(10)}) > 1


def test_other_connections_do_not_wait(refusals: Refusals) -> None:
    for _ in range(10 * AT_ONCE):
        refusals.pause("a", 1.0)
    assert refusals.pause("b", 1.0) == 0.0


def test_a_connection_that_comes_back_as_often_as_it_may_never_waits(refusals: Refusals, clock: Clock) -> None:
    for _ in range(20 * AT_ONCE):
        assert refusals.pause("a", 1.0) == 0.0
        clock.now += 1.001 / RATE


def test_a_connection_that_was_quiet_is_forgotten(refusals: Refusals, clock: Clock) -> None:
    for connection in range(100):
        for _ in range(2 * AT_ONCE):
            refusals.pause(str(connection), 1.0)
    assert len(refusals) == 100
    clock.now += AT_ONCE / RATE
    assert refusals.pause("0", 1.0) == 0.0
    assert len(refusals) == 1
