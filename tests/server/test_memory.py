"""The memory budget: counted for each call, and shared by connections."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_server.memory import LARGE, SHARE, Budget, Holding, MemoryFullError


def test_what_calls_hold_is_counted_until_they_give_it_back() -> None:
    budget = Budget(1000)
    one, two = budget.hold("a", 100), budget.hold("b", 50)
    one.grow(20)
    assert budget.used == 170
    one.release()
    assert budget.used == 50
    two.release()
    assert budget.used == 0


def test_giving_back_twice_is_giving_back_once() -> None:
    budget = Budget(1000)
    holding, other = budget.hold("a", 100), budget.hold("a", 100)
    holding.release()
    holding.release()
    assert budget.used == 100
    other.release()
    assert budget.used == 0


def test_a_call_grows_to_what_it_requires_and_not_beyond() -> None:
    budget = Budget(1000)
    holding = budget.hold("a", 100)
    holding.require(300)
    holding.require(200)
    assert budget.used == 300


def test_one_connection_gets_three_quarters_of_the_budget() -> None:
    budget = Budget(1000)
    budget.hold("a", 750)
    with pytest.raises(MemoryFullError):
        budget.hold("a", 1)


def test_a_connection_that_takes_all_it_can_leaves_room_for_the_next_ones() -> None:
    budget = Budget(1600)
    for connection in ("a", "b", "c", "d", "e"):
        with suppress(MemoryFullError):
            while True:
                budget.hold(connection, 1)
    assert budget.used < budget.size
    budget.hold("f", 1)


def test_large_calls_leave_a_quarter_of_the_budget_to_others() -> None:
    budget = Budget(100 * LARGE)
    for connection in map(str, range(1000)):
        with suppress(MemoryFullError):
            budget.hold(connection, 2 * LARGE)
    assert 70 * LARGE < budget.used <= 75 * LARGE
    for _ in range(18):
        budget.hold("small", LARGE)


def test_a_refused_call_holds_what_it_held_before() -> None:
    budget = Budget(1000)
    holding = budget.hold("a", 100)
    with pytest.raises(MemoryFullError):
        holding.grow(700)
    assert budget.used == 100
    holding.release()
    assert budget.used == 0


def test_a_refusal_says_how_much_is_needed_and_held() -> None:
    budget = Budget(256 * 2**20)
    budget.hold("a", 2**20)
    with pytest.raises(MemoryFullError, match=r"needs 300\.0 MiB, and calls hold 1\.0 MiB of 256\.0 MiB"):
        budget.hold("a", 300 * 2**20)


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 400), st.booleans()), max_size=60)


@given(STEPS)
def test_no_more_than_the_budget_is_held_and_no_connection_holds_more_than_its_share_when_it_takes(
    steps: list[tuple[str, int, bool]],
) -> None:
    budget = Budget(1000)
    holdings: list[tuple[Holding, int]] = []
    for connection, size, gives_back in steps:
        if gives_back and holdings:
            holdings.pop(size % len(holdings))[0].release()
        else:
            try:
                holdings.append((budget.hold(connection, size), size))
            except MemoryFullError:
                continue
            mine = sum(size for holding, size in holdings if holding.connection == connection)
            assert mine <= SHARE * (budget.size - budget.used)
        assert budget.used == sum(size for _, size in holdings) <= budget.size
    for holding, _ in holdings:
        holding.release()
    assert budget.used == 0
    assert not budget._held


def test_what_calls_of_a_connection_share_is_counted_once_until_the_last_one_ends() -> None:
    budget, shared = Budget(1000), object()
    one, two, other = (budget.hold(connection, 10) for connection in "aab")
    for holding in (one, two, other):
        holding.share(shared, 100)
    assert budget.used == 230
    one.release()
    assert budget.used == 220
    two.release()
    assert budget.used == 110
    with pytest.raises(MemoryFullError):
        other.share(object(), 900)
    other.release()
    assert budget.used == 0


def test_as_many_calls_of_a_connection_as_may_have_a_copy_take_one_each() -> None:
    budget = Budget(1000)
    calls = [budget.hold("a", 0) for _ in range(5)]
    for number, holding in enumerate(calls, 1):
        holding.share("copies", 100, most=3)
        assert budget.used == 100 * min(number, 3)
    for number, holding in enumerate(calls, 1):
        holding.release()
        assert budget.used == 100 * min(5 - number, 3)
