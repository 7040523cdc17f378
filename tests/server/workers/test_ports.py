"""Ports that workers share: held, the same for all, and shared with nobody else."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nextchar_server.listening import StartError, require_free
from nextchar_server.workers.ports import hold

HOST = "127.0.0.1"


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def shared(port: int, host: str = HOST) -> socket.socket:
    """Listens as a worker does."""
    return socket.create_server((host, port), reuse_port=True)


def test_any_free_port_is_one_port_on_which_all_workers_listen(held: ExitStack) -> None:
    port = hold(HOST, 0, "gRPC", held)
    assert port > 0
    with shared(port), shared(port):
        socket.create_connection((HOST, port)).close()


def test_every_address_of_a_name_has_the_same_port(held: ExitStack) -> None:
    port = hold("localhost", 0, "HTTP", held)
    for family, *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.create_server(address[:2], family=family, reuse_port=True):
            pass


def test_a_port_on_which_something_listens_is_refused_even_if_it_would_share(held: ExitStack) -> None:
    with shared(0) as other, pytest.raises(StartError, match="the port is in use; choose another one with --http-port"):
        hold(HOST, other.getsockname()[1], "HTTP", held)


def test_a_port_that_another_server_holds_is_refused_although_it_does_not_listen_yet(held: ExitStack) -> None:
    port = hold(HOST, 0, "gRPC", held)
    with (
        ExitStack() as other,
        pytest.raises(StartError, match="the port is in use; choose another one with --grpc-port"),
    ):
        hold(HOST, port, "gRPC", other)


def test_a_port_that_was_held_is_free_afterwards() -> None:
    with ExitStack() as first:
        port = hold(HOST, 0, "gRPC", first)
        with shared(port) as listener, socket.create_connection((HOST, port)) as caller:
            listener.accept()[0].close()  # leaves the port in TIME_WAIT
            assert caller.recv(1) == b""
    with ExitStack() as second:
        assert hold(HOST, port, "gRPC", second) == port


def test_a_server_of_one_process_is_refused_while_workers_listen(held: ExitStack) -> None:
    port = hold(HOST, 0, "gRPC", held)
    with shared(port), pytest.raises(StartError, match="the port is in use"):
        asyncio.run(require_free(HOST, port, "gRPC"))
