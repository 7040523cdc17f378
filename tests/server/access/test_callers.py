"""Callers: their account of characters, and how many of them are remembered and named."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.access import callers
from nextchar_server.access.callers import Callers, Identity, Limits
from nextchar_server.metrics import CallerMetrics
from tests.support.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def known(registry: CollectorRegistry, clock: Clock) -> Callers:
    return Callers(CallerMetrics(registry), clock=clock)


def identity(name: str, rate: int = 100, *, is_listed: bool = False) -> Identity:
    return Identity(name, Limits(rate=rate), is_listed)


def test_an_idle_caller_has_a_second_of_its_rate_at_once(known: Callers) -> None:
    caller = known.get(identity("ann"))
    caller.charge(100)
    assert caller.debt == 0
    caller.charge(50)
    assert caller.debt == pytest.approx(0.5)


def test_a_debt_is_paid_as_time_passes_and_no_more_than_a_second_is_saved(known: Callers, clock: Clock) -> None:
    caller = known.get(identity("ann"))
    caller.charge(300)
    clock.now += 1.5
    assert caller.debt == pytest.approx(0.5)
    clock.now += 1000
    caller.charge(150)
    assert caller.debt == pytest.approx(0.5)


def test_a_caller_without_a_rate_is_never_in_debt(known: Callers) -> None:
    caller = known.get(identity("ann", rate=0))
    caller.charge(10**9)
    assert caller.debt == 0


async def test_texts_that_wait_for_the_same_debt_have_the_same_turn(known: Callers, clock: Clock) -> None:
    caller = known.get(identity("ann"))
    caller.charge(101)
    turns = [asyncio.create_task(caller.turn(60)) for _ in range(3)]
    await asyncio.sleep(0)
    clock.now += 1
    assert await asyncio.gather(*turns) == [True] * 3


async def test_a_turn_waits_no_longer_than_told(known: Callers) -> None:
    caller = known.get(identity("ann"))
    caller.charge(1000)
    assert not await caller.turn(0.01)


async def test_a_turn_does_not_come_before_the_debt_that_grew_meanwhile_is_paid(known: Callers, clock: Clock) -> None:
    caller = known.get(identity("ann"))
    caller.charge(101)
    turn = asyncio.create_task(caller.turn(60))
    await asyncio.sleep(0)
    caller.charge(100)
    clock.now += 0.1
    assert not await caller.turn(0.1)
    clock.now += 2
    assert await turn


def test_more_texts_at_once_have_smaller_portions(known: Callers) -> None:
    caller = known.get(identity("ann", rate=10_000))
    whole = caller.portion
    caller.streams = 4
    assert (whole, caller.portion) == (1000, 250)
    caller.streams = 10**6
    assert caller.portion == 16


def test_new_limits_hold_at_once_and_the_account_stays(known: Callers) -> None:
    known.get(identity("ann")).charge(300)
    assert known.get(identity("ann", rate=0)).debt == 0
    assert known.get(identity("ann", rate=1000)).debt == pytest.approx(2)


def test_the_metrics_name_all_listed_callers_and_some_of_the_others(
    known: Callers, registry: CollectorRegistry
) -> None:
    for number in range(callers.MOST_LABELLED + 10):
        for kind in (True, False):
            known.get(identity(f"{kind}{number}", is_listed=kind)).charge(1)
    known.get(identity("False0")).charge(1)

    def characters(caller: str) -> float | None:
        return registry.get_sample_value("nextchar_caller_characters_total", {"caller": caller})

    last = callers.MOST_LABELLED + 9
    found = [characters(name) for name in (f"True{last}", f"False{last}", "False0", callers.OTHER)]
    assert found == [1, None, 2, 10]


def test_idle_callers_are_forgotten_when_there_are_many_and_debtors_are_not(known: Callers, clock: Clock) -> None:
    known.get(identity("debtor")).charge(10**6)
    busy = known.get(identity("busy"))
    busy.streams = 1
    for number in range(callers._SWEEP):
        known.get(identity(str(number)))
    clock.now += 10
    assert len(known) < 10
    assert known.get(identity("busy")) is busy
    assert known.get(identity("debtor")).debt
