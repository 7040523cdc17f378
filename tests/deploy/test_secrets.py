"""deploy/secrets.sh: the files that it makes are those that the server and its callers take."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "secrets.sh"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


def secrets(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"NEXTCHAR_SECRETS": str(folder)}
    return subprocess.run([SCRIPT, *arguments], check=False, capture_output=True, text=True, timeout=60, env=variables)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    made = secrets(folder, "make", "example.org", "10.0.0.4")
    assert made.returncode == 0, made.stderr
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shake_hands(folder: Path, host: str) -> None:
    """A handshake in memory with a client that expects ``host``. Raises ``ssl.SSLError`` if the client refuses."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.crt", folder / "server.key")
    client = ssl.create_default_context(cafile=folder / "ca.crt")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(3):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    assert not sides


def test_only_the_folder_and_the_authoritys_key_are_closed_to_others(folder: Path) -> None:
    closed = {path.name for path in [folder, *folder.iterdir()] if not path.stat().st_mode & 0o077}
    assert closed == {"secrets", "ca.key"}


@pytest.mark.parametrize("host", ["example.org", "10.0.0.4", "server", "localhost", "127.0.0.1"])
def test_a_client_with_the_authority_accepts_the_certificate_for_each_name(folder: Path, host: str) -> None:
    shake_hands(folder, host)


def test_the_certificate_holds_for_no_other_name(folder: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.net"):
        shake_hands(folder, "example.net")


def test_what_is_there_is_not_made_again(folder: Path) -> None:
    before = content(folder)
    assert secrets(folder, "make").returncode == 0
    assert content(folder) == before


def test_a_renewed_certificate_has_the_same_names_and_is_in_the_same_file(folder: Path) -> None:
    file, before = (folder / "server.crt").stat().st_ino, (folder / "server.crt").read_bytes()
    assert secrets(folder, "renew").returncode == 0
    assert (folder / "server.crt").read_bytes() != before
    assert (folder / "server.crt").stat().st_ino == file
    shake_hands(folder, "example.org")


def test_the_list_has_the_hash_of_a_callers_token(folder: Path) -> None:
    assert secrets(folder, "caller", "alice").returncode == 0
    token = (folder / "alice.token").read_text().strip()
    assert f"alice {hashlib.sha256(token.encode()).hexdigest()}" in (folder / "tokens").read_text().splitlines()


def test_a_revoked_caller_alone_leaves_the_list(folder: Path) -> None:
    before = (folder / "tokens").read_text()
    for verb in ("caller", "revoke"):
        assert secrets(folder, verb, "alice").returncode == 0
    assert (folder / "tokens").read_text() == before
    assert not (folder / "alice.token").exists()


def test_the_last_caller_is_not_revoked_because_a_server_would_keep_its_list(folder: Path) -> None:
    refused = secrets(folder, "revoke", "prometheus")
    assert refused.returncode == 1
    assert "last caller" in refused.stderr
    assert "prometheus" in (folder / "tokens").read_text()


@pytest.mark.parametrize("arguments", [["make", "a host"], ["caller", "../alice"], ["caller", "a b"], ["caller"], []])
def test_a_wrong_name_or_a_missing_one_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert secrets(tmp_path, *arguments).returncode == 2
