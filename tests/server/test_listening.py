"""Listening: what can't be listened on is named with the reason and the remedy, before any model is loaded."""

import asyncio
import errno
import os
import re
import socket

import pytest

from nextchar_server.listening import StartError, cannot_listen, plain_host, require_free


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "한글.example"])
def test_names_and_addresses_are_taken_as_they_are(host: str) -> None:
    assert plain_host(host) == host


@pytest.mark.parametrize("host", ["[::1]", "[::]", "[fe80::1%eth0]"])
def test_brackets_around_an_address_are_left_out(host: str) -> None:
    assert plain_host(host) == host[1:-1]


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("unix:/tmp/x.sock", "only TCP is"),
        ("unix:///tmp/x.sock", "only TCP is"),
        ("/tmp/x.sock", "only TCP is"),
        ("@abstract", "only TCP is"),
        ("http://localhost", "is a URL"),
        ("dns:///localhost", "is a URL"),
        ("localhost:50051", "give that with --grpc-port or --http-port"),
        ("127.0.0.1:0", "give that with --grpc-port or --http-port"),
        ("[::1]:50051", "give that with --grpc-port or --http-port"),
        ("*", "0.0.0.0 stands for every IPv4 address"),
        ("127.1", "short for 127.0.0.1; write that"),
        ("0", "short for 0.0.0.0; write that"),
        ("0x7f000001", "short for 127.0.0.1; write that"),
        ("224.0.0.1", "several machines"),
        ("ff02::1", "several machines"),
        ("255.255.255.255", "several machines"),
        (" 127.0.0.1", "a character that no name and no address has"),
        ("127.0.0.1\n", "a character that no name and no address has"),
        ("local\x1bhost", "a character that no name and no address has"),
        ("[::1", "a character that no name and no address has"),
        ("[]", "a character that no name and no address has"),
    ],
)
def test_anything_else_is_refused_with_the_form_to_write(host: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        plain_host(host)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("no.such.host.invalid", "the host can't be resolved: "),
        ("a..b", "the host can't be a name or an address: "),
        (f"{'x' * 64}.example", "the host can't be a name or an address: "),
        ("192.0.2.1", "this machine doesn't have that address; --host takes one of its own"),
    ],
)
async def test_a_host_that_is_not_this_machine_is_named(host: str, complaint: str) -> None:
    with pytest.raises(StartError) as caught:
        await require_free(host, 0, "gRPC")
    assert str(caught.value).startswith(f"cannot listen on {host}:0 for gRPC: {complaint}")
    assert "in use" not in str(caught.value)


async def test_a_port_in_use_is_in_use_on_every_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(StartError, match="the port is in use; choose another one with --http-port"):
                await require_free(host, port, "HTTP")


@pytest.mark.parametrize(
    ("number", "port", "complaint"),
    [
        (errno.EACCES, 80, "this user may not listen on a port below 1024; choose a higher one with --http-port"),
        (errno.EPERM, 80, "this user may not listen on a port below 1024; choose a higher one with --http-port"),
        (errno.EACCES, 8080, "this user may not listen on that port; choose another one with --http-port"),
        (errno.EAFNOSUPPORT, 80, "no addresses of that family"),
        (errno.EINVAL, 80, "such as fe80::1%eth0"),
        (errno.EMFILE, 80, "raise its limit (ulimit -n)"),
        (errno.ENFILE, 80, "the machine has too many files open"),
        (errno.EIO, 80, "Input/output error"),
    ],
)
def test_every_reason_of_the_machine_is_named(number: int, port: int, complaint: str) -> None:
    error = OSError(number, os.strerror(number))
    assert complaint in str(cannot_listen("::", port, "HTTP", error))


def test_the_message_of_grpc_is_not_passed_on() -> None:
    error = RuntimeError("Failed to bind to address 127.0.0.1:1; set GRPC_VERBOSITY=debug environment variable to see")
    assert "GRPC_VERBOSITY" not in str(cannot_listen("127.0.0.1", 1, "gRPC", error))


async def test_a_name_with_an_address_that_this_machine_lacks_can_be_listened_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def both(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    await require_free("localhost", 0, "gRPC")
