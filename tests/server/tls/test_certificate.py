"""The certificate of a server: which files are taken, and how each other one is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from nextchar_server.listening import StartError
from nextchar_server.tls.certificate import CertificateFiles, load_certificate
from tests.support.certificates import Authority, authority

NOW = datetime.now(UTC)
PKCS8, PEM = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return authority(tmp_path)


def self_signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    *,
    ends: datetime = NOW + timedelta(30),
) -> bytes:
    """Returns a certificate that ``key`` signs itself, and the key, in one file."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 2**64, NOW - timedelta(60), ends).sign(
        key, digest
    )
    return certificate.public_bytes(PEM) + key.private_bytes(PEM, PKCS8, serialization.NoEncryption())


def test_serial_number_and_dates_are_those_of_the_first_certificate(trusted: Authority) -> None:
    intermediate = trusted.ca.create_child_ca()
    leaf = intermediate.issue_cert(
        "localhost", not_before=NOW - timedelta(1), not_after=datetime(2051, 2, 3, tzinfo=UTC)
    )
    trusted.files.chain.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    trusted.files.key.write_bytes(leaf.private_key_pem.bytes())
    found = load_certificate(trusted.files)
    expected = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    assert (found.serial, found.begins, found.ends) == (
        expected.serial_number,
        expected.not_valid_before_utc,
        expected.not_valid_after_utc,
    )


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=lambda key: type(key).__name__,
)
def test_certificate_and_key_may_share_a_file(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    (tmp_path / "both.pem").write_bytes(b"a comment\n" + self_signed(key))
    files = CertificateFiles(tmp_path / "both.pem", tmp_path / "both.pem", tmp_path / "both.pem")
    assert load_certificate(files).serial == 2**64


def with_line_ends(pem: bytes) -> bytes:
    return pem.replace(b"\n", b"\r\n")


def with_mark(pem: bytes) -> bytes:
    return b"\xef\xbb\xbf" + pem


def with_words(pem: bytes) -> bytes:
    return b"Bag Attributes\n  localKeyID: 01\n" + pem + b"\nwords"


@pytest.mark.parametrize("change", [bytes.rstrip, with_line_ends, with_mark, with_words])
def test_a_form_of_the_files_that_is_taken_is_one_that_grpc_takes(
    trusted: Authority, change: Callable[[bytes], bytes]
) -> None:
    for path in trusted.files.paths:
        path.write_bytes(change(path.read_bytes()))
    found = load_certificate(trusted.files)
    server = grpc.server(ThreadPoolExecutor(1))
    assert server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(found.key, found.chain)]))
    server.stop(None)


def test_the_key_is_in_no_representation(trusted: Authority) -> None:
    assert "PRIVATE" not in repr(load_certificate(trusted.files))


def key_as_folder(made: Authority) -> None:
    made.files.key.unlink()
    made.files.key.mkdir()


def encrypted(made: Authority) -> bytes:
    key = serialization.load_pem_private_key(made.issued().key, None)
    return key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"password"))


def bundled(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> Callable[[Authority], None]:
    def spoil(made: Authority) -> None:
        made.files.chain.write_bytes(self_signed(key))
        made.files.key.write_bytes(self_signed(key))

    return spoil


REFUSED: dict[str, tuple[Callable[[Authority], object], str]] = {
    "absent certificate": (lambda made: made.files.chain.unlink(), "cert {chain}: can't be read: No such file"),
    "absent key": (lambda made: made.files.key.unlink(), "key {key}: can't be read: No such file"),
    "a folder": (
        key_as_folder,
        "key {key}: is not a file",
    ),
    "a large file": (lambda made: made.files.key.write_bytes(bytes(2**21)), "key {key}: is too large"),
    "not PEM": (lambda made: made.files.chain.write_bytes(b"\x30\x82\x01"), "cert {chain}: has no certificate in PEM"),
    "indented": (
        lambda made: made.files.chain.write_bytes(b"  " + made.files.chain.read_bytes()),
        "cert {chain}: has no certificate in PEM",
    ),
    "half written": (
        lambda made: made.files.chain.write_bytes(made.issued().chain[:200]),
        "cert {chain}: has no certificate in PEM",
    ),
    "an intermediate one is half written": (
        lambda made: made.files.chain.write_bytes(made.files.chain.read_bytes() + made.pem[:200]),
        "cert {chain}: is incomplete",
    ),
    "damaged": (
        lambda made: made.files.chain.write_bytes(made.issued().chain.replace(b"\nMII", b"\nMIJ", 1)),
        "cert {chain}: certificate 1 in it is damaged",
    ),
    "key as certificate": (
        lambda made: made.files.chain.write_bytes(made.issued().key),
        "cert {chain}: has no certificate in PEM",
    ),
    "certificate as key": (
        lambda made: made.files.key.write_bytes(made.issued().chain),
        "key {key}: has no private key in PEM",
    ),
    "half a key": (
        lambda made: made.files.key.write_bytes(made.issued().key[:100]),
        "key {key}: can't be used: ",
    ),
    "another one's key": (
        lambda made: made.files.key.write_bytes(made.issued().key),
        "key {key}: isn't the key of the first certificate in {chain}",
    ),
    "a key of another kind": (
        lambda made: made.files.key.write_bytes(self_signed(rsa.generate_private_key(65537, 2048))),
        "key {key}: isn't the key of the first certificate in {chain}",
    ),
    "encrypted key": (
        lambda made: made.files.key.write_bytes(encrypted(made)),
        "key {key}: is encrypted; write it without a password",
    ),
    "expired": (lambda made: made.renew(after=datetime(2020, 1, 2, tzinfo=UTC)), "cert {chain}: expired on 2020-01-02"),
    "not yet valid": (
        lambda made: made.renew(before=NOW + timedelta(2), after=NOW + timedelta(9)),
        "cert {chain}: is not valid before ",
    ),
    "a short key": (bundled(rsa.generate_private_key(65537, 1024)), "cert {chain}: its key is too short"),
    "Ed25519": (bundled(ed25519.Ed25519PrivateKey.generate()), "cert {chain}: callers don't accept its kind of key"),
    "P-521": (bundled(ec.generate_private_key(ec.SECP521R1())), "cert {chain}: callers don't accept its kind of key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_be_served_are_refused_by_name(trusted: Authority, name: str) -> None:
    spoil, message = REFUSED[name]
    spoil(trusted)
    with pytest.raises(StartError) as caught:
        load_certificate(trusted.files)
    assert str(caught.value).startswith("--tls-" + message.format(chain=trusted.files.chain, key=trusted.files.key))
    assert "\n" not in str(caught.value)


def expired_authority() -> bytes:
    return self_signed(ec.generate_private_key(ec.SECP256R1()), ends=NOW - timedelta(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no certificate in PEM"),
        (trustme.CA().cert_pem.bytes().replace(b"\nMII", b"\nMIJ", 1), "certificate 1 in it is damaged"),
        (expired_authority(), "every certificate in it has expired, the last one on "),
    ],
    ids=["empty", "damaged", "expired"],
)
def test_those_who_sign_for_callers_are_checked_too(trusted: Authority, content: bytes, message: str) -> None:
    files = trusted.mutual_files
    assert files.client_ca is not None
    files.client_ca.write_bytes(content)
    with pytest.raises(StartError, match=message) as caught:
        load_certificate(files)
    assert str(caught.value).startswith(f"--tls-client-ca {files.client_ca}: ")


def test_an_expired_authority_beside_a_new_one_is_no_reason_to_refuse(trusted: Authority) -> None:
    files = trusted.mutual_files
    assert files.client_ca is not None
    files.client_ca.write_bytes(expired_authority() + trusted.pem)
    load_certificate(files)
