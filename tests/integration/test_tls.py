"""TLS through a real server: renewal under load, mutual TLS, old versions, and the bounds of connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.http2 import Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.rpc import channelz, resets
from nextchar_server.rpc.holding_back import hold_back, let_go
from tests.support.certificates import Authority, Issued, authority, speaking
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

STREAMS = 64
WHOLE = 4  # of them, which are read to their ends
STREAM = "/nextchar.v1.GenerationService/GenerateStream"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""The beginning of a handshake."""
SMALLEST_WINDOWS = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
"""With these, the server is held up by a reader of a few messages who stops reading."""


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
async def secure(trusted: Authority, tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, handshake_timeout=0.3, **trusted.settings) as serving:
        yield serving


@pytest.fixture
async def mutual(trusted: Authority, tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8, **trusted.mutual_settings) as serving:
        yield serving


@asynccontextmanager
async def stub(port: int, trusted: Authority, own: Issued | None = None) -> AsyncIterator[Any]:
    """A stub over TLS, on a connection of its own."""
    key, chain = (None, None) if own is None else (own.key, own.chain)
    credentials = grpc.ssl_channel_credentials(trusted.pem, key, chain)
    options = [*SMALLEST_WINDOWS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


async def serial(port: int, trusted: Authority, context: ssl.SSLContext | None = None) -> int:
    """Returns the serial number of the certificate that a new connection sees."""
    context = context or trusted.context()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    try:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.transport.abort()


async def code(stub: Any) -> grpc.StatusCode:
    """Returns the status of a call."""
    try:
        await stub.ListModels(pb.ListModelsRequest(), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def request(seed: int) -> pb.GenerateStreamRequest:
    parameters = pb.GenerationParameters(max_characters=4000, seed=seed)
    return pb.GenerateStreamRequest(prompt="the", parameters=parameters)


async def read(stream: Any) -> tuple[str, int]:
    """Returns the text and the finish reason of the rest of a stream."""
    events = [event async for event in stream]
    return "".join(event.delta.text for event in events), events[-1].finished.finish_reason


async def test_a_certificate_is_renewed_under_64_streams_and_none_ends(trusted: Authority, secure: Serving) -> None:
    ports, admission = (secure.grpc_port, secure.http_port), secure.engine.admission
    before = [await serial(port, trusted) for port in ports]
    async with stub(secure.grpc_port, trusted) as running, stub(secure.grpc_port, trusted) as later:
        streams = [aiter(running.GenerateStream(request(seed))) for seed in range(STREAMS)]
        for stream in streams:
            await anext(stream)  # it has begun, and has a small window, so it can't end before it is read
        new = trusted.renew()
        async with asyncio.timeout(60):
            for port in ports:
                while await serial(port, trusted) != new:
                    await asyncio.sleep(0.02)
        assert admission.held == STREAMS
        texts = await asyncio.gather(*map(read, streams[:WHOLE]))
        await until(lambda: admission.held == STREAMS - WHOLE)
        for stream in streams[WHOLE:]:
            assert (await anext(stream)).HasField("delta")
        again = await asyncio.gather(*(read(later.GenerateStream(request(seed))) for seed in range(WHOLE)))
    assert before != [new, new]
    assert [reason for _, reason in texts] == [pb.FINISH_REASON_MAX_CHARACTERS] * WHOLE
    assert texts == again


async def test_a_pair_that_does_not_match_changes_nothing_on_either_port(trusted: Authority, secure: Serving) -> None:
    before = await serial(secure.grpc_port, trusted)
    trusted.files.key.write_bytes(trusted.issued().key)
    registry, name = secure.server._metrics.registry, "nextchar_tls_reloads_total"
    await until(lambda: registry.get_sample_value(name, {"result": "failed"}) == 1)
    assert [await serial(port, trusted) for port in (secure.grpc_port, secure.http_port)] == [before, before]
    async with stub(secure.grpc_port, trusted) as calls:
        assert await code(calls) is grpc.StatusCode.OK


async def test_with_mutual_tls_a_caller_needs_a_certificate_of_the_authority(
    trusted: Authority, mutual: Serving, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now = datetime.now(UTC)
    stranger = authority(tmp_path_factory.mktemp("stranger"))
    expired = trusted.issued(before=now - timedelta(2), after=now - timedelta(1))
    for own, status in [
        (trusted.issued(), grpc.StatusCode.OK),
        (None, grpc.StatusCode.UNAVAILABLE),
        (stranger.issued(), grpc.StatusCode.UNAVAILABLE),
        (expired, grpc.StatusCode.UNAVAILABLE),
    ]:
        async with stub(mutual.grpc_port, trusted, own) as calls:
            assert await code(calls) is status


async def test_a_new_authority_of_callers_is_taken_too(
    trusted: Authority, mutual: Serving, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = authority(tmp_path_factory.mktemp("stranger"))
    client_ca = trusted.mutual_settings["tls_client_ca"]
    client_ca.write_bytes(stranger.pem)
    mutual.server.reload()

    async def status() -> grpc.StatusCode:
        async with stub(mutual.grpc_port, trusted, stranger.issued()) as calls:
            return await code(calls)

    async with asyncio.timeout(60):
        while await status() is not grpc.StatusCode.OK:
            pass


async def test_plaintext_spoken_to_tls_is_refused(secure: Serving) -> None:
    assert await code(secure.stub) is grpc.StatusCode.UNAVAILABLE


async def test_tls_spoken_to_plaintext_is_refused(trusted: Authority, tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, stub(serving.grpc_port, trusted) as calls:
        assert await code(calls) is grpc.StatusCode.UNAVAILABLE


async def test_an_authority_that_the_caller_does_not_trust_is_refused(
    secure: Serving, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with stub(secure.grpc_port, authority(tmp_path_factory.mktemp("stranger"))) as calls:
        assert await code(calls) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_grpc_speaks_tls_1_2_and_1_3(trusted: Authority, secure: Serving, version: ssl.TLSVersion) -> None:
    assert await serial(secure.grpc_port, trusted, speaking(trusted.context(), version))


async def test_grpc_refuses_tls_1_1(trusted: Authority, secure: Serving) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await serial(secure.grpc_port, trusted, speaking(trusted.context(), ssl.TLSVersion.TLSv1_1))


@pytest.mark.parametrize("said", [b"", HELLO], ids=["nothing", "half a handshake"])
async def test_a_handshake_that_does_not_end_is_closed(secure: Serving, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.grpc_port)
    writer.write(said)
    async with asyncio.timeout(60):
        with suppress(ConnectionError):
            await reader.read()  # to its end
    writer.close()


async def test_a_connection_that_says_nothing_after_its_handshake_is_closed(
    trusted: Authority, secure: Serving
) -> None:
    context = trusted.context()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", secure.grpc_port, ssl=context, server_hostname="localhost"
    )
    async with asyncio.timeout(60):
        with suppress(ConnectionError):
            await reader.read()  # to its end
    writer.close()


async def test_a_connection_above_the_most_is_closed(trusted: Authority, tiny: TinyModel, serve: Serve) -> None:
    one = {"max_connections": 1, **trusted.settings}
    async with serve(tiny.int8, **one) as serving, stub(serving.grpc_port, trusted) as calls:
        assert await code(calls) is grpc.StatusCode.OK
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serial(serving.grpc_port, trusted)


async def test_calls_of_a_connection_are_counted_and_it_can_be_held_back(trusted: Authority, secure: Serving) -> None:
    async with stub(secure.grpc_port, trusted) as calls:
        assert await code(calls) is grpc.StatusCode.OK
        ((number, peer),) = [
            found for server in channelz.server_ids() for found in channelz.connections(server).items()
        ]
        await until(lambda: channelz.calls_of(number) == channelz.Calls(failed=0, succeeded=1))
        assert hold_back(peer)
        held = asyncio.create_task(code(calls))
        async with stub(secure.grpc_port, trusted) as others:
            assert await code(others) is grpc.StatusCode.OK  # called later, over a connection that must be made first
        assert not held.done()
        assert let_go(peer)
        assert await held is grpc.StatusCode.OK


async def test_a_rapid_reset_is_held_back(trusted: Authority, secure: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resets, "BURST", 5)  # a slow machine, too, is faster than that
    monkeypatch.setattr(resets, "RATE", 1)
    hostile = await Connection.open(secure.grpc_port, window=0, tls=trusted.context())
    async with asyncio.timeout(120), stub(secure.grpc_port, trusted) as calls:
        while not secure.server._parts.resets._held:  # type: ignore[union-attr]
            for _ in range(10):
                hostile.reset(hostile.call(STREAM, pb.GenerateStreamRequest().SerializeToString()))
            await hostile.drain()
            assert await code(calls) is grpc.StatusCode.OK
    hostile.close()
