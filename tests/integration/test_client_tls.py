"""TLS between the client and a server: calls that succeed, and the reason of those that can't."""

import asyncio
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Client, DeadlineExceededError, Delta, Health, UnavailableError, diagnosis
from nextchar_client.access import Access
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.command import Run
from tests.support.scripted_server import HANG, STARTED, WHOLE, Abort, ScriptedServer, Status, delta

TEXT = "한글\nwords"  # of the script WHOLE

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the client trusts."""
    return certificates.authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return certificates.authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[ScriptedServer]:
    """A server with TLS."""
    with ScriptedServer(authority.credentials()) as server:
        yield server


@pytest.fixture
def strict(authority: Authority) -> Iterator[ScriptedServer]:
    """A server that wants a client certificate."""
    with ScriptedServer(authority.credentials(wants_client=True)) as server:
        yield server


async def complaint(endpoint: str, **access: Any) -> str:
    """The message with which a call fails."""
    async with AsyncClient(endpoint, **access) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.models()
    assert caught.value.status is grpc.StatusCode.UNAVAILABLE
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
    message = str(caught.value)
    assert f"(gRPC: {caught.value.__cause__.details()})" in message
    return message


async def text(client: AsyncClient, **options: Any) -> str:
    """The text of a stream."""
    return "".join([event.text async for event in client.stream(**options) if isinstance(event, Delta)])


@pytest.mark.parametrize("scheme", ["grpcs://", "https://", ""])
async def test_every_call_succeeds_over_tls(secure: ScriptedServer, authority: Authority, scheme: str) -> None:
    async with AsyncClient(f"{scheme}{secure.endpoint}", tls_ca=authority.ca_file) as client:
        assert await text(client) == TEXT
        assert await client.health() is Health.SERVING


async def test_a_client_shows_its_certificate(strict: ScriptedServer, authority: Authority) -> None:
    certificate, key = authority.own_files("caller")
    async with AsyncClient(strict.endpoint, tls_ca=authority.ca_file, tls_cert=certificate, tls_key=key) as client:
        assert await text(client) == TEXT


def test_a_blocking_client_speaks_tls(secure: ScriptedServer, authority: Authority) -> None:
    with Client(secure.endpoint, tls=True, tls_ca=str(authority.ca_file)) as client:
        assert "".join(event.text for event in client.stream() if isinstance(event, Delta)) == TEXT


async def test_the_authority_is_missing(secure: ScriptedServer, stranger: Authority) -> None:
    for access in ({"tls": True}, {"tls_ca": stranger.ca_file}):
        message = await complaint(secure.endpoint, **access)
        assert message.startswith(f"the certificate of {secure.endpoint} is of no trusted authority (")
        assert "tls_ca" in message


@pytest.mark.parametrize(
    ("names", "days", "since", "reason"),
    [
        (("else.example",), 1.0, -1.0, "is for else.example, not for 127.0.0.1; use a name of the certificate"),
        ((), -1.0, -2.0, "has expired; renew it on the server"),
        ((), 2.0, 1.0, "isn't valid yet; compare the clocks"),
    ],
)
async def test_the_certificate_of_the_server_is_wrong(
    authority: Authority, names: tuple[str, ...], days: float, since: float, reason: str
) -> None:
    now = datetime.now(UTC)
    issued = authority.issued(*names, before=now + timedelta(days=since), after=now + timedelta(days=days))
    with ScriptedServer(authority.credentials(issued)) as server:
        message = await complaint(server.endpoint, tls_ca=authority.ca_file)
        assert message.startswith(f"the certificate of {server.endpoint} {reason}")


async def test_the_server_wants_a_client_certificate(strict: ScriptedServer, authority: Authority) -> None:
    message = await complaint(strict.endpoint, tls_ca=authority.ca_file)
    assert "wants a client certificate; give one with its key (tls_cert and tls_key" in message


async def test_the_server_refuses_the_client_certificate(
    strict: ScriptedServer, authority: Authority, stranger: Authority
) -> None:
    certificate, key = stranger.own_files("caller")
    message = await complaint(strict.endpoint, tls_ca=authority.ca_file, tls_cert=certificate, tls_key=key)
    assert message.startswith(f"the server at {strict.endpoint} refuses the client certificate")


async def test_a_client_without_tls_is_told_that_the_server_has_it(
    secure: ScriptedServer, strict: ScriptedServer
) -> None:
    for server in (secure, strict):
        assert (await complaint(server.endpoint)).startswith(f"the server at {server.endpoint} speaks TLS; use TLS too")


async def test_a_client_with_tls_is_told_that_the_server_has_none(server: ScriptedServer) -> None:
    message = await complaint(server.endpoint, tls=True)
    assert message.startswith(f"the server at {server.endpoint} speaks plaintext, not TLS; leave out TLS")


async def test_a_health_check_is_told_the_reason_at_its_first_failure(server: ScriptedServer) -> None:
    async with AsyncClient(server.endpoint, tls=True) as client:
        with pytest.raises(UnavailableError, match="speaks plaintext, not TLS"):
            await client.health()


async def test_a_server_that_only_refuses_has_no_other_reason(server: ScriptedServer, secure: ScriptedServer) -> None:
    for each in (server, secure):
        each.scripts = [[Abort(Status.UNAVAILABLE, "connections to all backends failing, says the script")]]
    async with AsyncClient(server.endpoint) as client:
        with pytest.raises(UnavailableError, match=r"^connections to all backends failing, says the script$"):
            await client.models()


async def test_a_server_with_tls_and_without_http_2_is_another_service(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.own_files("127.0.0.1"))
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as other:
        port = other.sockets[0].getsockname()[1]
        message = await complaint(f"127.0.0.1:{port}", tls_ca=authority.ca_file)
    assert message.startswith(f"the server at 127.0.0.1:{port} has TLS without HTTP/2; is this the port for gRPC?")


async def test_calls_that_fail_together_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Access] = []

    def look(access: Access) -> str:
        looks.append(access)
        return "the reason"

    monkeypatch.setattr(diagnosis, "reason_of", look)
    one = diagnosis.Diagnosis(Access("127.0.0.1:1"))
    error = UnavailableError("connections to all backends failing; last error: Socket closed")
    errors = await asyncio.gather(*(one.explain(error) for _ in range(20)))
    assert {str(each) for each in errors} == {f"the reason (gRPC: {error})"}
    assert len(looks) == 1


async def test_the_timeout_of_a_call_holds_for_the_search_for_a_reason(
    secure: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Event()
    monkeypatch.setattr(diagnosis, "reason_of", lambda _: held.wait() and None)
    async with AsyncClient(secure.endpoint) as client:
        with pytest.raises(UnavailableError, match=r"^connections to all backends failing"):
            await client.health(timeout=1)
    held.set()


async def test_a_text_continues_on_another_server_over_tls(secure: ScriptedServer, authority: Authority) -> None:
    with ScriptedServer(authority.credentials()) as other:
        secure.scripts = [[STARTED, delta("한글"), Abort(Status.UNAVAILABLE)]]
        endpoints = [f"grpcs://{server.endpoint}" for server in (secure, other)]
        async with AsyncClient(endpoints, tls_ca=authority.ca_file, token="secret") as client:
            while not secure.requests:  # the first turn is drawn
                assert await text(client) == TEXT
        assert [calls[-1]["authorization"] for calls in (secure.metadata, other.metadata)] == ["Bearer secret"] * 2


async def test_a_server_that_turns_a_call_away_is_tried_again_over_tls(
    secure: ScriptedServer, authority: Authority
) -> None:
    secure.scripts = [[Abort(Status.UNAVAILABLE)], [Abort(Status.RESOURCE_EXHAUSTED)], WHOLE]
    async with AsyncClient(secure.endpoint, tls_ca=authority.ca_file) as client:
        assert await text(client) == TEXT


async def test_a_timeout_holds_over_tls(secure: ScriptedServer, authority: Authority) -> None:
    secure.scripts = [[STARTED, HANG]]
    async with AsyncClient(secure.endpoint, tls_ca=authority.ca_file) as client:
        with pytest.raises(DeadlineExceededError):
            await text(client, timeout=0.5)


def test_commands_take_tls_from_options_and_from_variables(
    strict: ScriptedServer, run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = authority.own_files("caller")
    strict.scripts = [[pb.ListModelsResponse()]]
    given = ["--tls-ca", str(authority.ca_file), "--tls-cert", str(certificate), "--tls-key", str(key)]
    assert run("models", "--endpoint", strict.endpoint, *given)[0] == 0
    monkeypatch.setenv("NEXTCHAR_ENDPOINT", f"grpcs://{strict.endpoint}")
    monkeypatch.setenv("NEXTCHAR_ENDPOINT_CA", str(authority.ca_file))
    monkeypatch.setenv("NEXTCHAR_ENDPOINT_CERT", str(certificate))
    monkeypatch.setenv("NEXTCHAR_ENDPOINT_KEY", str(key))
    assert run("models")[0] == 0
    assert run("health") == (0, "SERVING\n", "")


@pytest.mark.parametrize("command", ["generate", "models", "health", "bench"])
def test_a_command_says_the_reason_on_one_line(secure: ScriptedServer, run: Run, command: str) -> None:
    code, _, errors = run(command, "--endpoint", secure.endpoint)
    assert code == (1 if command == "health" else 3)
    (line,) = [line for line in errors.splitlines() if "ssl_transport" not in line]  # the server's log, in this process
    assert line.startswith(f"nextchar: error: UNAVAILABLE at {secure.endpoint}: the server at {secure.endpoint} speaks")
