"""Connections that cancel call after call."""

import asyncio
import socket

from prometheus_client import CollectorRegistry

from nextchar_server.metrics import Metrics
from nextchar_server.rpc.hanging_up import hang_up, host_of
from nextchar_server.rpc.resets import BURST, DROPPED, SOON, Resets
from tests.support.waiting import until

HOSTILE, OTHER = "ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2"


def resets() -> Resets:
    """Returns the object under test."""
    return Resets(Metrics(CollectorRegistry()).rejected)


def overdo(tested: Resets, connection: str = HOSTILE) -> None:
    """Cancels more calls at once than a connection may, even if a second passes meanwhile."""
    for _ in range(2 * BURST):
        tested.count(connection, 0.0)


def peer_of(connection: socket.socket) -> str:
    """Returns the other end of a connection, as gRPC names it."""
    host, port = connection.getpeername()
    return f"ipv4:{host}:{port}"


async def test_a_connection_may_cancel_a_burst_of_calls() -> None:
    tested = resets()
    for _ in range(BURST):
        tested.count(HOSTILE, 0.0)
    assert not tested.shuns(HOSTILE)


async def test_calls_of_a_connection_that_cancels_more_are_dropped() -> None:
    tested = resets()
    overdo(tested)
    assert tested.shuns(HOSTILE)


async def test_calls_of_another_connection_are_handled() -> None:
    tested = resets()
    overdo(tested)
    assert not tested.shuns(OTHER)


async def test_calls_that_ran_for_a_while_may_all_be_cancelled_at_once() -> None:
    tested = resets()
    for _ in range(10 * BURST):
        tested.count(HOSTILE, SOON)
    assert not tested.shuns(HOSTILE)


async def test_a_connection_that_continues_is_hung_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as caller:
        ours, _ = listener.accept()
        with ours:
            tested = resets()
            overdo(tested, peer_of(ours))
            for _ in range(DROPPED):
                assert tested.shuns(peer_of(ours))
            assert await asyncio.to_thread(caller.recv, 1) == b""


async def test_after_that_its_host_may_cancel_a_tenth_as_many() -> None:
    tested = resets()
    overdo(tested)
    for _ in range(DROPPED):
        tested.shuns(HOSTILE)
    for _ in range(BURST // 2):
        tested.count(OTHER, 0.0)
    assert tested.shuns(OTHER)
    await until(lambda: not tested._hanging_up)


def test_no_other_connection_is_hung_up_on() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as one,
        socket.create_connection(listener.getsockname()) as other,
    ):
        first, _ = listener.accept()
        second, _ = listener.accept()
        with first, second:
            assert hang_up(peer_of(first))
            assert one.recv(1) == b""
            second.sendall(b"x")
            assert other.recv(1) == b"x"


def test_an_unknown_peer_is_no_connection() -> None:
    assert not hang_up("ipv4:127.0.0.1:1")
    assert not hang_up("unix:/tmp/socket")
    assert not hang_up("ipv6:%5B::1%5D:1")


def test_the_host_of_a_peer_is_all_but_its_port() -> None:
    assert host_of("ipv6:%5B::1%5D:4711") == "ipv6:%5B::1%5D"
