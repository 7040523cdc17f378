"""Connections that cancel call after call."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.metrics import Metrics
from nextchar_server.rpc import channelz, resets
from nextchar_server.rpc.resets import BURST, LONGEST, RATE, SOON, Resets

SERVER, HOSTILE, OTHER = 1, "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2"


class Network:
    """Two connections, whose failed calls a test sets, and the sockets that are held back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failed = {HOSTILE: 0, OTHER: 0}
        self.succeeded = 0  # calls of each
        self.held: list[str] = []
        peers = dict(enumerate(self.failed))
        monkeypatch.setattr(channelz, "connections", lambda server: peers)
        monkeypatch.setattr(
            channelz, "calls_of", lambda number: channelz.Calls(self.failed[peers[number]], self.succeeded)
        )
        monkeypatch.setattr(resets, "hold_back", self.held.append)
        monkeypatch.setattr(resets, "let_go", self.held.remove)
        self.tested = Resets(Metrics(CollectorRegistry()).rejected)
        self._now = self.tested._looked_at

    def pass_by(self, seconds: float, failed: int = 0) -> None:
        """Lets ``seconds`` pass in which this many calls of the hostile connection fail, then looks."""
        self._now += seconds
        self.failed[HOSTILE] += failed
        self.tested._came[HOSTILE] = 1  # most are cancelled before anybody sees them
        self.tested._look(SERVER, self._now)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def test_a_connection_may_cancel_a_burst_of_calls(network: Network) -> None:
    network.pass_by(0, BURST)
    assert network.held == []


def test_a_connection_that_cancels_more_is_held_back(network: Network) -> None:
    network.pass_by(0, BURST + 1)
    assert network.held == [HOSTILE]


def test_its_calls_that_came_in_before_are_dropped_and_no_others(network: Network) -> None:
    network.pass_by(0, BURST + 1)
    assert network.tested.shuns(HOSTILE)
    assert not network.tested.shuns(OTHER)


def test_a_connection_may_cancel_calls_at_the_rate_for_ever(network: Network) -> None:
    for _ in range(100):
        network.pass_by(1, RATE)
    assert network.held == []


def test_a_little_above_the_rate_it_is_held_back_in_the_end(network: Network) -> None:
    for _ in range(BURST // (RATE // 10) + 1):
        if not network.held:
            network.pass_by(1, RATE + RATE // 10)
    assert network.held == [HOSTILE]


def test_calls_that_ran_for_a_while_may_all_be_cancelled_at_once(network: Network) -> None:
    for _ in range(10 * BURST):
        network.tested.count(HOSTILE, SOON)
    network.pass_by(0, 10 * BURST)
    assert network.held == []


def test_of_a_connection_of_many_callers_every_second_call_may_be_cancelled(network: Network) -> None:
    for _ in range(10):
        network.succeeded += 10 * BURST
        network.pass_by(0, 10 * BURST)
    assert network.held == []


def test_a_connection_that_was_held_back_is_let_go(network: Network) -> None:
    network.pass_by(0, BURST + 1)
    network.pass_by(LONGEST)
    assert network.held == []
    assert not network.tested.shuns(HOSTILE)


def test_calls_that_fail_meanwhile_make_it_longer_up_to_a_bound(network: Network) -> None:
    network.pass_by(0, BURST + 1)
    network.pass_by(1, 1000 * RATE)
    network.pass_by(LONGEST - 1)
    assert network.held == [HOSTILE]
    network.pass_by(1)
    assert network.held == []


async def test_an_error_does_not_end_the_watch(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()
    looks = iter([RuntimeError("broken"), None])

    def look(server: int, now: float) -> None:
        if (error := next(looks, None)) is not None:
            raise error
        loop.call_soon_threadsafe(looked.set)

    monkeypatch.setattr(network.tested, "_look", look)
    network.tested.watch(SERVER)
    async with asyncio.timeout(60):
        await looked.wait()
    await network.tested.stop()
