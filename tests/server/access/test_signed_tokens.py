"""Signed tokens: which are refused, and which keys."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nextchar_server.access.signed_tokens import LEEWAY, SignedTokens, read_issuer
from nextchar_server.access.token_list import CredentialError
from nextchar_server.listening import StartError
from tests.support.signed import AUDIENCE, ISSUER, Issuer

ISSUED = Issuer()


@pytest.fixture
def signed(tmp_path: Path) -> SignedTokens:
    return read_issuer(ISSUED.write(tmp_path / "keys"), ISSUER, AUDIENCE)


def part(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def unsigned() -> str:
    return jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": time.time() + 60}, "", "none")


def confused() -> str:
    """A token whose common secret is the public key."""
    secret = ISSUED.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = f"{part({'alg': 'HS256', 'kid': ISSUED.key_id})}.{ISSUED.token().split('.')[1]}"
    signature = hmac.digest(secret, content.encode(), hashlib.sha256)
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def changed() -> str:
    header, _, signature = ISSUED.token().split(".")
    return f"{header}.{ISSUED.token(sub='bob').split('.')[1]}.{signature}"


def test_a_valid_token_names_its_caller_and_its_end(signed: SignedTokens) -> None:
    expiry = int(time.time()) + 60
    assert signed.verify(ISSUED.token(exp=expiry)) == ("ann", expiry + LEEWAY)


@pytest.mark.parametrize(
    "token",
    [
        unsigned,
        confused,
        changed,
        lambda: ISSUED.token(exp=time.time() - LEEWAY - 1),
        lambda: ISSUED.token(nbf=time.time() + LEEWAY + 60),
        lambda: ISSUED.token(exp=None),
        lambda: ISSUED.token(exp=1e400),
        lambda: ISSUED.token(sub=None),
        lambda: ISSUED.token(sub=""),
        lambda: ISSUED.token(sub="a\nb"),
        lambda: ISSUED.token(sub="n" * 256),
        lambda: ISSUED.token(iss="https://other.test"),
        lambda: ISSUED.token(iss=None),
        lambda: ISSUED.token(aud="other"),
        lambda: ISSUED.token(aud=None),
        lambda: ISSUED.token(headers={"kid": "two"}),
        lambda: Issuer().token(),
        lambda: f"{part('[' * 6000)}.e30.e30",
        lambda: f"{part({'alg': 'ES256', 'kid': {}})}.e30.e30",
        lambda: f"{part([])}.e30.e30",
        lambda: "..",
        lambda: "é.\ud800.\x00",
    ],
)
def test_any_other_token_is_refused(signed: SignedTokens, token: Callable[[], str]) -> None:
    with pytest.raises(CredentialError):
        signed.verify(token())


def test_a_token_is_remembered_until_it_expires(signed: SignedTokens) -> None:
    signed.remember(b"key", "ann", 100.0)
    assert signed.remembered(b"key", 99.0) == "ann"
    assert signed.remembered(b"key", 100.0) is None


def test_the_memory_of_tokens_is_bounded(signed: SignedTokens) -> None:
    for number in range(10_000):
        signed.remember(number.to_bytes(4), "ann", 100.0)
    assert signed.remembered(bytes(4), 0.0) is None
    assert len(signed._verified) < 10_000


PRIVATE = {**jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True), "kid": "x"}
SHORT = jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ("[]", 'has no "keys"; it must be a JSON Web Key Set (RFC 7517)'),
        ({"keys": []}, "has no key for signatures"),
        ({"keys": [{"kty": "RSA", "use": "enc"}]}, "has no key for signatures"),
        ({"keys": ["x"]}, "key 1 isn't a JSON Web Key"),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "key 1 is a common secret; only public keys"),
        ({"keys": [PRIVATE]}, "key 1 is a private key; write its public part only"),
        ({"keys": [{"kty": "EC"}]}, "key 1 can't be used: "),
        ({"keys": [SHORT]}, "key 1 has 1024 bits; keys of RSA need at least 2048"),
        ({"keys": [ISSUED.public, ISSUED.public]}, 'key 2 has the "kid" of an earlier one; give each its own'),
    ],
)
def test_keys_that_cannot_be_trusted_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(StartError) as caught:
        read_issuer(path, ISSUER, AUDIENCE)
    assert str(caught.value).startswith(f"--auth-jwks-file {path}: {message}")
