"""Connections that cancel call after call."""

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.memory import Budget
from nextchar_server.metrics import Metrics
from nextchar_server.rpc.resets import BURST, SOON, Resets

HOSTILE, OTHER = "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2"


def resets(budget: int = 2**20) -> tuple[Resets, Budget]:
    """Returns the object under test, and the budget that it uses."""
    held = Budget(budget)
    return Resets(held, Metrics(CollectorRegistry()).rejected), held


def overdo(tested: Resets) -> None:
    """Cancels more calls at once than a connection may, even if a second passes meanwhile."""
    for _ in range(2 * BURST):
        tested.count(HOSTILE, 0.0)


async def test_a_connection_may_cancel_a_burst_of_calls() -> None:
    tested, _ = resets()
    for _ in range(BURST):
        tested.count(HOSTILE, 0.0)
    assert not tested.shuns(HOSTILE, object())


async def test_calls_of_a_connection_that_cancels_more_are_not_handled() -> None:
    tested, _ = resets()
    overdo(tested)
    assert tested.shuns(HOSTILE, object())


async def test_calls_of_another_connection_are_handled() -> None:
    tested, _ = resets()
    overdo(tested)
    assert not tested.shuns(OTHER, object())


async def test_calls_that_ran_for_a_while_may_all_be_cancelled_at_once() -> None:
    tested, _ = resets()
    for _ in range(10 * BURST):
        tested.count(HOSTILE, SOON)
    assert not tested.shuns(HOSTILE, object())


async def test_what_is_held_of_them_is_part_of_the_budget() -> None:
    tested, budget = resets()
    overdo(tested)
    tested.shuns(HOSTILE, object())
    one = budget.used
    tested.shuns(HOSTILE, object())
    assert budget.used == 2 * one > 0


@pytest.mark.parametrize("calls", [1, 1000])
async def test_a_full_budget_holds_none_of_them_and_they_still_are_not_handled(calls: int) -> None:
    tested, budget = resets(1024)
    overdo(tested)
    assert all(tested.shuns(HOSTILE, object()) for _ in range(calls))
    assert budget.used == 0
