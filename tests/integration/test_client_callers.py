"""The token of a caller: how every call and every command sends it, and that nothing shows it."""

from contextlib import suppress
from pathlib import Path

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Client, Health, NextcharError, PermissionDeniedError, UnauthenticatedError
from tests.support import certificates
from tests.support.command import Run
from tests.support.known_callers import line
from tests.support.scripted_server import MODEL, WHOLE, Abort, ScriptedServer, Status
from tests.support.serving import serving
from tests.support.tiny_model import TinyModel

SECRET = "s3cret-t0ken"
ELSEWHERE = "nextchar.example:1"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with a token and a comment."""
    file = tmp_path / "token"
    file.write_text(f"# of alice\n\n  {SECRET}  \r\n")
    return file


def sent(server: ScriptedServer) -> set[str | bytes | None]:
    """The credentials of all calls."""
    return {metadata.get("authorization") for metadata in server.metadata}


async def test_every_call_of_a_client_sends_its_token(server: ScriptedServer) -> None:
    server.scripts = [[pb.ScoreResponse(text="")]]
    async with AsyncClient(server.endpoint, token=SECRET) as client:
        for call in (client.generate, client.models, lambda: client.score("a"), client.model):
            with suppress(NextcharError):  # the script answers not all of them
                await call()
        await client.health()
    assert len(server.metadata) >= 4
    assert sent(server) == {f"Bearer {SECRET}"}


async def test_a_function_is_asked_before_each_try(server: ScriptedServer, short_pauses: None) -> None:
    server.scripts = [[Abort(Status.UNAVAILABLE)], WHOLE]
    tokens = iter(["first", "second"])
    async with AsyncClient(server.endpoint, token=lambda: next(tokens)) as client:
        _ = [event async for event in client.stream()]
    assert [metadata["authorization"] for metadata in server.metadata] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(Status.UNAUTHENTICATED, UnauthenticatedError), (Status.PERMISSION_DENIED, PermissionDeniedError)],
)
def test_a_refusal_has_its_class_and_is_not_tried_again(
    server: ScriptedServer, status: Status, kind: type[NextcharError]
) -> None:
    server.scripts = [[Abort(status)]]
    with Client(server.endpoint, token=SECRET) as client, pytest.raises(kind) as caught:
        client.models()
    assert len(server.requests) == 1
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_command_reads_the_token_from_a_file_or_a_variable_the_file_first(
    server: ScriptedServer, run: Run, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCHAR_TOKEN", "of-the-variable")
    for arguments in ([], ["--token-file", str(token_file)]):
        assert run("generate", *arguments)[0] == 0
    monkeypatch.setenv("NEXTCHAR_TOKEN", "")
    assert run("generate")[0] == 0
    expected = ["Bearer of-the-variable", f"Bearer {SECRET}", None]
    assert [metadata.get("authorization") for metadata in server.metadata] == expected


def test_a_load_sends_the_token_with_each_request(server: ScriptedServer, run: Run, token_file: Path) -> None:
    server.scripts = [MODEL, WHOLE]
    assert run("bench", "--requests", "3", "--token-file", str(token_file))[0] == 0
    assert len(server.metadata) == 4
    assert sent(server) == {f"Bearer {SECRET}"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "{file} has no token; it must have one, on a line of its own"),
        ("# comment\n", "{file} has no token; it must have one, on a line of its own"),
        (f"{SECRET}\n{SECRET}\n", "{file} has 2 lines with a token; it must have one, on a line of its own"),
        (f"Bearer {SECRET}", "the token is malformed: character 7 is a blank; leave out 'Bearer'"),
        (b"\xff", "cannot read {file}: it is not UTF-8"),
        (None, "cannot read {file}: No such file or directory"),
    ],
)
def test_a_token_file_that_cannot_be_used_is_a_mistake(
    run: Run, tmp_path: Path, content: str | bytes | None, complaint: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    line = f"nextchar: error: --token-file: {complaint.format(file=file)} (see nextchar models --help)\n"
    assert run("models", "--token-file", str(file)) == (2, "", line)


def test_a_malformed_variable_is_a_mistake_that_does_not_quote_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCHAR_TOKEN", f"{SECRET} {SECRET}")
    code, _, errors = run("models")
    assert (code, SECRET in errors) == (2, False)
    assert errors.startswith("nextchar: error: NEXTCHAR_TOKEN: the token is malformed: character 13 is a blank")


def test_a_command_keeps_the_token_from_another_machine_without_tls(
    run: Run, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, errors = run("health", "--endpoint", ELSEWHERE, "--token-file", str(token_file))
    assert (code, SECRET in errors) == (2, False)
    assert errors.startswith(f"nextchar: error: --token-file: on the way to '{ELSEWHERE}' anyone could read it")
    monkeypatch.setenv("NEXTCHAR_TOKEN", SECRET)
    assert run("health", "--endpoint", ELSEWHERE)[2].startswith("nextchar: error: NEXTCHAR_TOKEN: on the way to")
    allowed = run("health", "--endpoint", ELSEWHERE, "--timeout", "0.01", "--allow-plaintext-token")
    assert allowed[0] == 1


def test_a_file_of_a_variable_that_cannot_be_used_is_named_by_the_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCHAR_ENDPOINT_CA", "/none")
    assert run("models")[2].startswith("nextchar: error: NEXTCHAR_ENDPOINT_CA: cannot read /none: No such file")
    assert run("models", "--tls-ca", "/other")[2].startswith("nextchar: error: --tls-ca: cannot read /other: No such")


def test_a_refused_credential_is_a_wrong_request_with_its_remedy(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[Abort(Status.UNAUTHENTICATED, "no valid credential")]]
    line = "nextchar: error: UNAUTHENTICATED: no valid credential (see --token-file and NEXTCHAR_TOKEN)\n"
    assert run("models") == (2, "", line)


@pytest.mark.parametrize("command", ["generate", "score", "models", "health", "bench"])
def test_no_help_shows_the_token_and_no_option_takes_one(
    run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCHAR_TOKEN", SECRET)
    assert SECRET not in run(command, "--help")[1]
    assert run(command, "--token", SECRET)[0] == 2


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """The list of tokens of a server."""
    file = tmp_path / "tokens"
    file.write_text(line("alice", SECRET))
    return file


async def test_a_real_server_with_tls_serves_its_callers_and_no_other(
    tiny: TinyModel, tmp_path: Path, tokens: Path
) -> None:
    authority = certificates.authority(tmp_path)
    async with serving(tiny.int8, auth_tokens_file=tokens, **authority.settings) as running:
        endpoint = f"grpcs://127.0.0.1:{running.grpc_port}"
        async with AsyncClient(endpoint, tls_ca=authority.ca_file, token=SECRET) as client:
            assert len((await client.generate(max_characters=40)).text) == 40
        for token in (None, SECRET.upper()):
            async with AsyncClient(endpoint, tls_ca=authority.ca_file, token=token) as client:
                with pytest.raises(UnauthenticatedError, match="no valid credential"):
                    await client.generate()
                assert await client.health() is Health.SERVING
