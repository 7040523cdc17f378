"""Connections that are held back for a while, on real sockets."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nextchar_server.rpc.holding_back import hold_back, let_go

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has filters on sockets")

HELD = 0.2
"""Seconds in which a message over the loopback interface would have come long since."""


class Pair:
    """A connection with both of its ends."""

    def __init__(self, stack: ExitStack, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = stack.enter_context(socket.create_server((host, 0), family=family))
        self.caller = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
        self.ours = stack.enter_context(listener.accept()[0])
        self.caller.settimeout(10)
        self.ours.settimeout(10)

    @property
    def peer(self) -> str:
        """The caller, as gRPC names it."""
        host, port = self.ours.getpeername()[:2]
        return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def arrives(self) -> bool:
        """Whether something of the caller is there to be read, after a while."""
        self.ours.settimeout(HELD)
        try:
            return bool(self.ours.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False
        finally:
            self.ours.settimeout(10)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(stack: ExitStack, request: pytest.FixtureRequest) -> Pair:
    return Pair(stack, request.param)


@linux_only
def test_of_a_connection_that_is_held_back_nothing_comes_in(pair: Pair) -> None:
    assert hold_back(pair.peer)
    pair.caller.sendall(b"held")
    assert not pair.arrives()


@linux_only
def test_what_its_peer_sent_meanwhile_comes_after_it_is_let_go(pair: Pair) -> None:
    hold_back(pair.peer)
    pair.caller.sendall(b"held")
    assert not pair.arrives()
    assert let_go(pair.peer)
    assert pair.ours.recv(4) == b"held"


@linux_only
def test_the_server_can_still_send_to_it_and_learns_that_it_arrived(pair: Pair) -> None:
    hold_back(pair.peer)
    for _ in range(100):  # far more than is sent without an acknowledgement
        pair.ours.sendall(bytes(100_000))
        left = 100_000
        while left:
            left -= len(pair.caller.recv(left))


@linux_only
def test_it_can_be_closed_meanwhile(pair: Pair) -> None:
    hold_back(pair.peer)
    pair.caller.close()
    assert pair.ours.recv(1) == b""


def test_without_filters_the_connection_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert hold_back(pair.peer)
    assert pair.caller.recv(1) == b""


def test_no_other_connection_is_touched(stack: ExitStack) -> None:
    one, other = Pair(stack, "127.0.0.1"), Pair(stack, "127.0.0.1")
    assert hold_back(one.peer)
    other.caller.sendall(b"x")
    assert other.arrives()


@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:1", "unix:/tmp/socket", "ipv6:%5B::1%5D:1", "", "ipv4:x:y"])
def test_an_unknown_peer_is_no_connection(peer: str) -> None:
    assert not hold_back(peer)
    assert not let_go(peer)
