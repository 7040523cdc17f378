"""The HTTP port with TLS: versions, handshakes that don't end, callers without a certificate. It needs no model."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.http import connections as http_connections
from nextchar_server.http.port import HttpPort
from nextchar_server.metrics import TlsMetrics
from nextchar_server.tls.certificate import CertificateFiles, load_certificate
from nextchar_server.tls.renewal import Tls
from nextchar_server.watching import Watch
from tests.support.certificates import Authority, authority, speaking, understand

MOST = 16
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a handshake."""


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@asynccontextmanager
async def opened(files: CertificateFiles) -> AsyncIterator[int]:
    """An HTTP port with TLS."""
    registry = CollectorRegistry()
    tls = Tls(files, TlsMetrics(registry))
    await tls.start(Watch())
    http = HttpPort(registry, lambda: True, most_connections=MOST, tls=tls)
    try:
        yield await http.open("127.0.0.1", 0)
    finally:
        await http.close()
        tls.stop()


@pytest.fixture
async def port(trusted: Authority) -> AsyncIterator[int]:
    async with opened(trusted.files) as port:
        yield port


async def answer(port: int, context: ssl.SSLContext | None, path: str = "/healthz") -> bytes:
    """Returns all that comes until the port hangs up."""
    name = None if context is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def is_refused(port: int, context: ssl.SSLContext) -> bool:
    """Whether the port hangs up without an answer."""
    try:
        return await answer(port, context) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_it_speaks_tls_1_2_and_1_3(port: int, trusted: Authority, version: ssl.TLSVersion) -> None:
    assert (await answer(port, speaking(trusted.context(), version))).endswith(b"ok\n")


async def test_it_refuses_tls_1_1(port: int, trusted: Authority) -> None:
    assert await is_refused(port, speaking(trusted.context(), ssl.TLSVersion.TLSv1_1))


async def test_a_whole_answer_comes_however_long_it_is(port: int, trusted: Authority) -> None:
    assert (await answer(port, trusted.context(), "/metrics")).endswith(b"\n")


async def test_a_caller_without_tls_is_told_to_use_it(port: int) -> None:
    told = await answer(port, None)
    assert b" 400 " in told
    assert told.endswith(b"this port speaks TLS: use https\n")


async def test_handshakes_that_do_not_end_hold_up_nobody(port: int, trusted: Authority) -> None:
    halves = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MOST)]
    for half in halves:
        half.sendall(HELLO)
    assert (await answer(port, trusted.context())).endswith(b"ok\n")
    for half in halves:
        half.close()


async def test_one_more_than_may_be_closes_the_oldest_in_its_handshake(port: int) -> None:
    halves = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST + 1)]
    for _, writer in halves:
        writer.write(HELLO)
        await asyncio.sleep(0.01)  # so that they are accepted in this order
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await halves[0][0].readexactly(1)
    for _, writer in halves:
        writer.close()


async def test_a_handshake_has_its_time(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "_HANDSHAKE", 0.05)
    async with opened(trusted.files) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HELLO)
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_handshakes_that_fail_leave_nothing_in_the_log(
    port: int, trusted: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for garbage in (HELLO + bytes(600), HELLO[:1] + b"garbage" * 100, HELLO[:1]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await answer(port, ssl.create_default_context())
        await answer(port, trusted.context())
    assert not [record for record in caplog.records if record.name != "asyncio"]
    assert "Traceback" not in caplog.text


MUTUAL = [
    ("/healthz", 200, 200),
    ("/readyz", 200, 200),
    ("/metrics", 403, 200),
    ("/", 403, 404),
]


@pytest.mark.parametrize(("path", "without", "with_one"), MUTUAL)
async def test_with_mutual_tls_only_the_probes_answer_callers_without_a_certificate(
    trusted: Authority, path: str, without: int, with_one: int
) -> None:
    async with opened(trusted.mutual_files) as port:
        for own, status in ((None, without), (trusted.issued(), with_one)):
            answered = await answer(port, trusted.context(own), path)
            assert answered.split(b" ", 2)[1] == str(status).encode()


async def test_with_mutual_tls_a_certificate_of_somebody_else_is_refused(
    trusted: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    foreign = authority(tmp_path_factory.mktemp("foreign")).issued()
    async with opened(trusted.mutual_files) as port:
        assert await is_refused(port, trusted.context(foreign))


def test_the_caller_of_tls_1_1_could_speak_it_to_an_older_server(trusted: Authority) -> None:
    caller, server = (speaking(each, ssl.TLSVersion.TLSv1_1) for each in (trusted.context(), server_context(trusted)))
    assert understand(caller, server)
    assert not understand(caller, server_context(trusted))


def server_context(trusted: Authority) -> ssl.SSLContext:
    return load_certificate(trusted.files).context
