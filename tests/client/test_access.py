"""The keywords for TLS and for tokens: what they make of an endpoint, and the remedy if they can't be used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nextchar_client import InvalidArgumentError
from nextchar_client.access import Access
from tests.support import certificates
from tests.support.certificates import Authority

HERE, THERE = "127.0.0.1:1", "nextchar.example:1"
SECRET = "s3cret-t0ken"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return certificates.authority(tmp_path_factory.mktemp("authority"))


def complaint(endpoint: str | Sequence[str] = HERE, **access: Any) -> str:
    """The message with which the arguments are refused."""
    with pytest.raises(InvalidArgumentError) as caught:
        Access(endpoint, **access)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# TLS.


@pytest.mark.parametrize(
    ("endpoint", "tls", "targets", "is_secure"),
    [
        ("a:1", False, ("a:1",), False),
        ("a:1,grpcs://b:1", True, ("a:1", "b:1"), True),
        (["grpcs://a:1", "https://b:1"], False, ("a:1", "b:1"), True),
        ("dns:///a:1", True, ("dns:///a:1",), True),
    ],
)
def test_tls_is_for_all_servers_or_none(
    endpoint: str | Sequence[str], tls: bool, targets: tuple[str, ...], is_secure: bool
) -> None:
    access = Access(endpoint, tls=tls)
    assert (access.targets, access.is_secure) == (targets, is_secure)


def test_files_of_tls_imply_it(authority: Authority) -> None:
    certificate, key = authority.own_files("caller")
    assert Access(HERE, tls_ca=authority.ca_file).authorities == authority.ca_file.read_bytes()
    assert Access(HERE, tls_cert=certificate, tls_key=key).identity == (certificate.read_bytes(), key.read_bytes())


def test_servers_with_and_without_tls_are_a_mistake() -> None:
    assert complaint("grpcs://a:1,b:2").startswith(
        "endpoint: 'b:2' is without TLS and others are with it; write grpcs://"
    )


def test_addresses_without_a_name_are_a_mistake_with_tls() -> None:
    assert "has no name that a certificate can be for" in complaint("ipv4:10.0.0.1:1,10.0.0.2:1", tls=True)


@pytest.mark.parametrize("keyword", ["tls_ca", "tls_cert", "tls_key"])
def test_a_file_that_cannot_be_used_is_named(authority: Authority, tmp_path: Path, keyword: str) -> None:
    certificate, key = authority.own_files("caller")
    files: dict[str, Any] = {"tls_ca": authority.ca_file, "tls_cert": certificate, "tls_key": key}
    other = tmp_path / "other"
    assert complaint(**files | {keyword: other}) == f"{keyword}: cannot read {other}: No such file or directory"
    assert complaint(**files | {keyword: tmp_path}) == f"{keyword}: cannot read {tmp_path}: Is a directory"
    assert complaint(**files | {keyword: "a\0b"}).startswith(f"{keyword}: cannot read a\0b: embedded null")
    other.write_text("text")
    kind = "private key" if keyword == "tls_key" else "certificate"
    assert complaint(**files | {keyword: other}) == f"{keyword}: {other} holds no {kind} in PEM"


def test_a_certificate_and_its_key_go_together(authority: Authority) -> None:
    (certificate, key), (_, other) = authority.own_files("caller"), authority.own_files("other")
    assert complaint(tls_cert=certificate) == "tls_cert, tls_key: give both or neither"
    assert complaint(tls_key=key) == "tls_cert, tls_key: give both or neither"
    assert (
        complaint(tls_cert=certificate, tls_key=other)
        == f"tls_key: {other} is not the key of the certificate in {certificate}"
    )


def test_a_damaged_or_encrypted_file_is_a_mistake(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.own_files("caller")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(authority.ca_file.read_bytes().replace(b"M", b"N", 3))
    assert complaint(tls_ca=damaged).startswith(f"tls_ca: a certificate in {damaged} is damaged (")
    assert "can't be used (" in complaint(tls_cert=damaged, tls_key=key)
    damaged.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n")
    assert complaint(tls_cert=certificate, tls_key=damaged).startswith(f"tls_key: {damaged} is encrypted")


# Tokens.


def test_a_token_is_sent_as_a_bearer_token() -> None:
    assert Access(HERE, token=SECRET).metadata == (("authorization", f"Bearer {SECRET}"),)
    assert Access(THERE).metadata == ()


def test_a_function_is_asked_for_each_token() -> None:
    tokens = iter(["first", "second", "no token"])
    access = Access(HERE, token=lambda: next(tokens))
    assert [access.metadata[0][1] for _ in range(2)] == ["Bearer first", "Bearer second"]
    with pytest.raises(InvalidArgumentError, match="token: character 3 is a blank"):
        _ = access.metadata


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "it is empty"),
        (f"{SECRET} {SECRET}", "character 13 is a blank; it must be visible ASCII characters without blanks"),
        (f"Bearer {SECRET}", "character 7 is a blank; leave out 'Bearer'"),
        (f"{SECRET}\n", "character 13 is a line break; it must"),
        (f"{SECRET}\t", "character 13 is a tab; it must"),
        (f"{SECRET}\x7f", "character 13 is a control character; it must"),
        (f"{SECRET}한", "character 13 is outside ASCII; it must"),
        (SECRET * 1000, "it has 12,000 characters; the longest that a call can send has 7,000"),
    ],
)
def test_a_malformed_token_is_refused_without_its_text(token: str, reason: str) -> None:
    assert complaint(token=token).startswith(f"token: {reason}")


@pytest.mark.parametrize("endpoint", [THERE, [HERE, THERE], f"dns:///{THERE}", "dns://8.8.8.8/localhost:1"])
def test_a_token_is_refused_over_plaintext_to_another_machine(endpoint: str | Sequence[str]) -> None:
    assert complaint(endpoint, token=SECRET).startswith("token: on the way to '")
    assert "use grpcs://HOST:PORT, or allow it with allow_plaintext_token" in complaint(endpoint, token=lambda: SECRET)


def test_a_token_goes_over_tls_or_within_this_machine_or_if_allowed() -> None:
    for access in (
        Access([HERE, "unix:/tmp/n"], token=SECRET),
        Access(THERE, tls=True, token=SECRET),
        Access(THERE, token=SECRET, allow_plaintext_token=True),
    ):
        assert access.metadata
        assert SECRET not in repr(access)
