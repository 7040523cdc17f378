"""Addresses that cancel requests. Times are made up."""

from __future__ import annotations

from nextchar_server.http.leavers import Leavers
from nextchar_server.rpc.resets import BURST, LONGEST, RATE, SHORTEST, SOON


def cancelled(leavers: Leavers, address: str, count: int, now: float = 0.0, seconds: float = 0.0) -> None:
    for _ in range(count):
        leavers.count(address, seconds, now, is_cancelled=True)


def test_an_address_may_cancel_a_burst_and_no_more() -> None:
    leavers = Leavers()
    cancelled(leavers, "192.0.2.1", BURST)
    assert leavers.wait("192.0.2.1", 0.0) == 0
    cancelled(leavers, "192.0.2.1", 1)
    assert SHORTEST <= leavers.wait("192.0.2.1", 0.0) <= LONGEST
    assert leavers.wait("192.0.2.2", 0.0) == 0
    assert leavers.wait("192.0.2.1", LONGEST) == 0


def test_time_and_requests_that_end_well_make_up_for_it() -> None:
    leavers = Leavers()
    cancelled(leavers, "192.0.2.1", BURST)
    for _ in range(10):
        leavers.count("192.0.2.1", 0.0, 0.0, is_cancelled=False)
    cancelled(leavers, "192.0.2.1", 10)
    cancelled(leavers, "192.0.2.1", RATE, now=1.0)
    assert leavers.wait("192.0.2.1", 1.0) == 0
    cancelled(leavers, "192.0.2.1", 1, now=1.0)
    assert leavers.wait("192.0.2.1", 1.0) > 0


def test_requests_that_ran_for_a_while_do_not_count() -> None:
    leavers = Leavers()
    cancelled(leavers, "192.0.2.1", 2 * BURST, seconds=SOON)
    assert leavers.wait("192.0.2.1", 0.0) == 0


def test_a_network_of_ipv6_is_one_caller_and_so_is_an_address_in_both_forms() -> None:
    leavers = Leavers()
    cancelled(leavers, "2001:db8::1", BURST)
    cancelled(leavers, "2001:db8::ffff", 1)
    assert leavers.wait("2001:db8::2", 0.0) > 0
    assert leavers.wait("2001:db8:0:1::2", 0.0) == 0
    cancelled(leavers, "192.0.2.1", BURST)
    cancelled(leavers, "::ffff:192.0.2.1", 1)
    assert leavers.wait("192.0.2.1", 0.0) > 0
