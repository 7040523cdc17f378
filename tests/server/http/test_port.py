"""The HTTP port: answers, and callers that ask much of it. It needs no model."""

import asyncio
import logging
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from nextchar_server.http import connections as http_connections
from nextchar_server.http import port as probes
from nextchar_server.http.port import HttpPort

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
MOST = 64  # connections


class Encodings(Collector):
    """A metric that tells how often metrics were encoded."""

    def __init__(self) -> None:
        self.count = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Takes as much processor time as the metrics of a server."""
        self.count += 1
        end = time.thread_time() + 2e-3
        while time.thread_time() < end:
            pass
        yield CounterMetricFamily("encodings", "Encodings.", self.count)


@pytest.fixture
def encodings() -> Encodings:
    return Encodings()


@pytest.fixture
async def port(encodings: Encodings) -> AsyncIterator[int]:
    """An open port, whose server is not ready."""
    registry = CollectorRegistry()
    registry.register(encodings)
    encodings.count = 0
    http = HttpPort(registry, lambda: False, most_connections=MOST)
    yield await http.open("127.0.0.1", 0)
    await http.close()


async def answer(port: int, request: bytes = SCRAPE) -> bytes:
    """Sends ``request`` and returns all that comes until the port hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


def request(path: str, method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("/metrics"), 200),
        (request("/healthz"), 200),
        (request("/readyz"), 503),
        (request("/readyz?verbose"), 503),
        (request("/metrics", "HEAD"), 200),
        (request("/"), 404),
        (request("/metrics/"), 404),
        (request("/metrics", "POST"), 405),
        (request("/" + "a" * 10_000), 400),
        (request("/metrics", headers=f"X: {'a' * 10_000}\r\n"), 400),
        (request("/metrics", headers="X: a\r\n" * 200), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else None,
)
async def test_every_request_has_its_status(port: int, asked: bytes, status: int) -> None:
    assert (await answer(port, asked)).split(b" ", 2)[1] == str(status).encode()


@pytest.mark.parametrize("asked", [request("/healthz"), request("/" + "a" * 10_000)], ids=["good", "bad"])
async def test_an_answer_tells_no_versions(port: int, asked: bytes) -> None:
    answered = await answer(port, asked)
    assert b"Server: nextchar\r\n" in answered
    assert b"aiohttp" not in answered
    assert b"Python" not in answered


async def test_a_bad_request_leaves_nothing_in_the_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for bad in (b"\x1b[31mhello\r\n\r\n", request("/" + "a" * 10_000), request("/", headers="a b\r\n")):
            assert b" 400 " in await answer(port, bad)
    assert "hello" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("aiohttp", "nextchar"))]


async def test_a_connection_serves_one_request_of_those_it_is_sent(port: int) -> None:
    answered = await answer(port, SCRAPE * 2000)
    assert answered.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answered


async def test_scrapes_that_wait_share_one_encoding(port: int, encodings: Encodings) -> None:
    answers = await asyncio.gather(*[answer(port) for _ in range(40)])
    assert all(b"encodings_total" in each for each in answers)
    assert encodings.count < 20


async def test_callers_that_name_formats_of_their_own_share_it_too(port: int, encodings: Encodings) -> None:
    accepts = [f"Accept: application/openmetrics-text; version=1.0.{n}; escaping=dots\r\n" for n in range(40)]
    answers = await asyncio.gather(*[answer(port, request("/metrics", headers=accept)) for accept in accepts])
    assert all(b"encodings_total" in each for each in answers)
    assert encodings.count < 20


async def test_a_scrape_is_encoded_after_it_came(port: int, encodings: Encodings) -> None:
    for count in range(1, 4):
        assert f"encodings_total {float(count)}".encode() in await answer(port)


async def test_a_caller_that_says_nothing_is_not_even_accepted(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MOST)]
    said = await asyncio.open_connection("127.0.0.1", port)
    said[1].write(b"GET ")  # it isn't closed, although there are more connections than may be
    assert b"ok" in await answer(port, request("/healthz"))
    said[1].write(b"/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"ok" in await said[0].read()
    said[1].close()
    for connection in silent:
        connection.close()


@pytest.mark.parametrize("said", [b"GET /metrics HTTP/1.1\r\nHo", SCRAPE * 100])
async def test_connections_that_are_not_done_give_way_to_new_ones(port: int, said: bytes) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MOST)]
    for connection in silent:
        connection.sendall(said)
    assert b"ok" in await answer(port, request("/healthz"))
    for connection in silent:
        connection.close()


async def test_it_answers_while_the_servers_event_loop_is_busy(port: int) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/healthz", timeout=60) as response:  # blocks this event loop
        assert response.read() == b"ok\n"


async def test_it_listens_on_every_address_of_a_name() -> None:
    http = HttpPort(CollectorRegistry(), lambda: True, most_connections=MOST)
    port = await http.open("localhost", 0)
    found = await asyncio.get_running_loop().getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    for *_, address in found:
        reader, writer = await asyncio.open_connection(str(address[0]), port)
        writer.write(request("/readyz"))
        assert b"ready" in await reader.read()
        writer.close()
    await http.close()


async def test_open_connections_that_take_far_more_than_their_share_are_closed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "LIFETIME", 3600.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET ")
    monkeypatch.setattr(probes, "_OVERDRAFT", -1.0)  # whatever they take is too much
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
