"""A caller of another language, the gRPC of Node.js: it needs the same credentials and gets the same texts as ours.

Skipped without Node.js or its package: ``npm install --no-save @grpc/grpc-js`` in the root of the repository, or in the
folder above the one that the variable ``NODE_PATH`` names.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nextchar_client import AsyncClient, Delta, NextcharError
from tests.support import certificates
from tests.support.certificates import Authority
from tests.support.known_callers import line, looked
from tests.support.pages import ROOT
from tests.support.serving import Serving, serving
from tests.support.signed import AUDIENCE, ISSUER, Issuer
from tests.support.tiny_model import TinyModel

CALLER = Path(__file__).with_name("caller.cjs")
PROTO = ROOT / "proto" / "nextchar" / "v1" / "generation.proto"
SECRET, WRONG = "the-token-of-alice", "the-token-of-nobody"
SEED = 7
SERVED, REFUSED = ("OK", 40, 200), ("UNAUTHENTICATED", 0, 401)


@pytest.fixture(scope="module", autouse=True)
def node() -> str:
    """The command of Node.js. Skips if it or its gRPC is missing."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("needs Node.js")
    found = ["-e", "require.resolve('@grpc/grpc-js')"]
    if subprocess.run([command, *found], cwd=CALLER.parent, capture_output=True, timeout=60).returncode:
        pytest.skip("needs npm install --no-save @grpc/grpc-js in the root of the repository, or NODE_PATH")
    return command


def list_only(name: str, token: str, file: Path) -> Path:
    """Writes a list of one token into ``file``."""
    file.write_text(line(name, token))
    return file


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return certificates.authority(tmp_path)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """The list of tokens, with that of one caller."""
    return list_only("alice", SECRET, tmp_path / "tokens")


@pytest.fixture
def issuer() -> Issuer:
    """Signs tokens of other callers."""
    return Issuer()


@pytest.fixture
async def secure(
    tiny: TinyModel, authority: Authority, tokens: Path, issuer: Issuer, tmp_path: Path
) -> AsyncIterator[Serving]:
    """A server with TLS that accepts listed and signed tokens."""
    settings: dict[str, Any] = {
        **authority.settings,
        "auth_tokens_file": tokens,
        "auth_jwks_file": issuer.write(tmp_path / "keys"),
        "auth_jwt_issuer": ISSUER,
        "auth_jwt_audience": AUDIENCE,
    }
    async with serving(tiny.int8, **settings) as running:
        yield running


@pytest.fixture
def endpoint(secure: Serving) -> str:
    """Its address."""
    return f"127.0.0.1:{secure.grpc_port}"


async def told(node: str, endpoint: str, **access: Any) -> dict[str, Any]:
    """The outcome of a call of Node.js."""
    asked = {
        "endpoint": endpoint,
        "proto": str(PROTO),
        "seed": SEED,
        **{key: str(value) for key, value in access.items()},
    }
    process = await asyncio.create_subprocess_exec(
        node, str(CALLER), json.dumps(asked), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, errors.decode()
    outcome: dict[str, Any] = json.loads(output)
    return outcome


async def ours(endpoint: str, **access: Any) -> dict[str, str]:
    """The outcome of the same call of our client."""
    try:
        async with AsyncClient(endpoint, **access) as client:
            events = [event async for event in client.stream(seed=SEED, max_characters=40)]
    except NextcharError as error:
        return {"code": "none" if error.status is None else error.status.name, "details": str(error), "text": ""}
    return {"code": "OK", "details": "", "text": "".join(event.text for event in events if isinstance(event, Delta))}


async def both(node: str, secure: Serving, authority: Authority, token: str | None) -> tuple[str, int, int]:
    """Status and length of the text of Node.js's call, and the status that it gets of the HTTP port.

    Our call must have the same status, details and text.
    """
    endpoint = f"127.0.0.1:{secure.grpc_port}"
    credential = {} if token is None else {"token": token}
    outcome: dict[str, Any] = await told(
        node, endpoint, ca=authority.ca_file, http=f"127.0.0.1:{secure.http_port}", **credential
    )
    http: int = outcome.pop("http")
    assert outcome == await ours(endpoint, tls_ca=authority.ca_file, **credential)
    return outcome["code"], len(outcome["text"]), http


async def test_a_caller_with_the_right_token_gets_the_same_text(
    node: str, secure: Serving, authority: Authority, issuer: Issuer
) -> None:
    for token in (SECRET, issuer.token()):
        assert await both(node, secure, authority, token) == SERVED


async def test_a_caller_with_no_or_a_wrong_or_an_expired_token_is_refused_as_ours_is(
    node: str, secure: Serving, authority: Authority, issuer: Issuer
) -> None:
    for token in (None, WRONG, Issuer().token(), issuer.token(exp=time.time() - 3600)):
        assert await both(node, secure, authority, token) == REFUSED


async def test_a_caller_whose_token_is_revoked_is_refused_as_ours_is(
    node: str, secure: Serving, authority: Authority, tokens: Path
) -> None:
    assert await both(node, secure, authority, SECRET) == SERVED
    list_only("bob", WRONG, tokens)
    await looked(secure, "ok")
    assert await both(node, secure, authority, SECRET) == REFUSED


async def test_a_caller_without_tls_or_without_the_authority_is_not_served(
    node: str, endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = certificates.authority(tmp_path_factory.mktemp("stranger"))
    for access in ({}, {"ca": stranger.ca_file}):
        outcome = await told(node, endpoint, token=SECRET, **access)
        assert (outcome["code"], outcome["text"]) == ("UNAVAILABLE", "")


async def test_a_caller_needs_the_certificate_that_the_server_wants(
    node: str, tiny: TinyModel, authority: Authority
) -> None:
    own, own_key = authority.own_files("alice")
    async with serving(tiny.int8, **authority.mutual_settings) as running:
        endpoint = f"127.0.0.1:{running.grpc_port}"
        assert (await told(node, endpoint, ca=authority.ca_file))["code"] == "UNAVAILABLE"
        outcome = await told(node, endpoint, ca=authority.ca_file, cert=own, key=own_key)
        assert outcome == await ours(endpoint, tls_ca=authority.ca_file, tls_cert=own, tls_key=own_key)
        assert len(outcome["text"]) == 40
