"""Signed tokens: JSON Web Tokens (RFC 7519) that an issuer signs, verified with its public keys (RFC 7517).

An alternative to the list of tokens: the caller is the subject of the token. Needs PyJWT, which only this
module imports.

Invariant: the algorithm follows from the issuer's key, never from the token, and is asymmetric; a token without an
expiry, a subject, the issuer or the audience is refused, and whatever else it holds: verifying raises
``CredentialError`` and nothing else.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jwt

from ..listening import StartError
from .token_list import CredentialError, is_name

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Algorithms that keys may have. A key that names none has RS256 (RSA), or that of its curve."""

LEEWAY = 30.0
"""Seconds by which the clocks of issuer and server may differ."""

_LEAST_RSA_BITS = 2048
_REMEMBERED = 4096  # verified tokens


class SignedTokens:
    """The tokens of one issuer. ``verify`` is thread-safe; the memory of verified tokens is the event loop's."""

    def __init__(self, keys: list[jwt.PyJWK], issuer: str, audience: str) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._issuer = issuer
        self._audience = audience
        self._verified: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # by digest, the latest used last

    def verify(self, token: str) -> tuple[str, float]:
        """Returns the subject, and the time in seconds since 1970 until which the token is valid.

        Takes some 0.2 ms. Raises ``CredentialError``.
        """
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            subject, expiry = claims["sub"], float(claims["exp"]) + LEEWAY
        except Exception as error:  # a stranger chose all of the token: JSON too deep, numbers too large, anything
            raise CredentialError(type(error).__name__) from None
        if not isinstance(subject, str) or not is_name(subject):
            raise CredentialError("InvalidSubject")
        return subject, expiry

    def remember(self, key: bytes, subject: str, expiry: float) -> None:
        """Notes that the token whose digest is ``key`` was verified."""
        self._verified[key] = subject, expiry
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)

    def remembered(self, key: bytes, now: float) -> str | None:
        """Returns the subject of a token that was verified and is still valid ``now``, in seconds since 1970."""
        found = self._verified.get(key)
        if found is None:
            return None
        if found[1] <= now:
            del self._verified[key]
            return None
        self._verified.move_to_end(key)
        return found[0]

    def _key(self, identifier: object) -> jwt.PyJWK:
        if identifier is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if not isinstance(identifier, str) or identifier not in self._keys:
            raise CredentialError
        return self._keys[identifier]


def read_issuer(path: Path, issuer: str, audience: str) -> SignedTokens:
    """Returns the tokens that are signed with the keys of the file, of ``issuer`` and for ``audience``.

    Raises ``StartError`` with the first key that can't be used. Keys that are for encryption are left out.
    """
    source = f"--auth-jwks-file {path}"
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise StartError(f"{source}: can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise StartError(f"{source}: isn't JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise StartError(f'{source}: has no "keys"; it must be a JSON Web Key Set (RFC 7517)')
    keys: list[jwt.PyJWK] = []
    for number, entry in enumerate(listed, 1):
        if isinstance(entry, dict) and entry.get("use", "sig") != "sig":
            continue
        key = _read_key(entry, f"{source}: key {number}")
        if any(key.key_id == other.key_id for other in keys):
            raise StartError(f'{source}: key {number} has the "kid" of an earlier one; give each its own')
        keys.append(key)
    if not keys:
        raise StartError(f"{source}: has no key for signatures")
    return SignedTokens(keys, issuer, audience)


def _read_key(entry: Any, source: str) -> jwt.PyJWK:
    if not isinstance(entry, dict) or "kty" not in entry:
        raise StartError(f"{source} isn't a JSON Web Key")
    if entry["kty"] == "oct":
        raise StartError(f"{source} is a common secret; only public keys (RSA, EC, OKP) are accepted")
    if "d" in entry:
        raise StartError(f"{source} is a private key; write its public part only")
    try:
        key = jwt.PyJWK.from_dict(entry)
    except Exception as error:  # of the many kinds of wrong values
        raise StartError(f"{source} can't be used: {type(error).__name__}") from None
    if key.algorithm_name not in ALGORITHMS:
        raise StartError(f"{source} has an algorithm that isn't accepted; accepted are {', '.join(ALGORITHMS)}")
    if key.key_type == "RSA" and key.key.key_size < _LEAST_RSA_BITS:
        raise StartError(f"{source} has {key.key.key_size} bits; keys of RSA need at least {_LEAST_RSA_BITS}")
    return key
