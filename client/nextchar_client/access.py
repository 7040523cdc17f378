"""Access to the servers of one client: their addresses, the TLS of the connections, and the token of the caller.

Between the keywords of a client and its channels. Imports no gRPC, so that it can refuse a mistake in any process.
Invariant: the token leaves this machine in plaintext only if the caller allows it; no message and no ``repr`` has it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from .endpoint import endpoint_complaint, endpoints_of, stays_here, target_of
from .errors import InvalidArgumentError

_LONGEST_TOKEN = 7000  # bytes; servers take 8 KiB of metadata in all, and refuse more by chance
_VISIBLE = re.compile(r"[!-~]*")
_CERTIFICATE, _KEY, _ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"


class Access:
    """Access to the servers at ``endpoint``; ``AccessOptions`` explains the keywords.

    Raises ``InvalidArgumentError`` if an endpoint or the token is malformed, a file can't be used, or the token would
    leave this machine in plaintext.
    """

    def __init__(
        self,
        endpoint: str | Sequence[str],
        *,
        tls: bool = False,
        tls_ca: str | PathLike[str] | None = None,
        tls_cert: str | PathLike[str] | None = None,
        tls_key: str | PathLike[str] | None = None,
        token: str | Callable[[], str] | None = None,
        allow_plaintext_token: bool = False,
    ) -> None:
        if (tls_cert is None) != (tls_key is None):
            raise InvalidArgumentError("tls_cert, tls_key: give both or neither")
        self.targets, self.is_secure = _targets(endpoint, tls=tls or tls_ca is not None or tls_cert is not None)
        """The target of gRPC of each endpoint, and whether their connections use TLS."""
        self.authorities = None if tls_ca is None else _read("tls_ca", tls_ca, _CERTIFICATE)
        """Certificates of the trusted authorities, in PEM; None for those of gRPC."""
        self.identity: tuple[bytes, bytes] | None = None
        """Certificate chain and private key of the client, in PEM."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.is_secure else None
        """The same for the module ``ssl``, to check the files, and later the handshake; None without TLS."""
        if self.context is not None and tls_ca is not None and self.authorities is not None:
            _trust(self.context, tls_ca, self.authorities)
        if self.context is not None and tls_cert is not None and tls_key is not None:
            self.identity = _identity(self.context, tls_cert, tls_key)
        self._token = token
        if isinstance(token, str):
            _check(token)
        elif token is not None and not callable(token):
            raise TypeError(f"token: it must be text or a function that returns it, not {type(token).__name__}")
        if token is not None and not self.is_secure and not allow_plaintext_token:
            _keep_here(self.targets)

    @property
    def has_token(self) -> bool:
        """Whether calls send a token."""
        return self._token is not None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of the next try of a call. Raises ``InvalidArgumentError`` if a new token is malformed."""
        if self._token is None:
            return ()
        token = self._token
        if not isinstance(token, str):
            token = token()
            _check(token)
        return (("authorization", f"Bearer {token}"),)


def token_complaint(token: str) -> str | None:
    """Returns why no call can send ``token``, without quoting it; None if one can."""
    if not token:
        return "it is empty"
    if len(token) > _LONGEST_TOKEN:
        return f"it has {len(token):,} characters; the longest that a call can send has {_LONGEST_TOKEN:,}"
    place = len(_VISIBLE.match(token)[0])  # type: ignore[index] # it also matches nothing
    if place == len(token):
        return None
    kind = {" ": "a blank", "\t": "a tab", "\n": "a line break", "\r": "a line break"}.get(token[place])
    if kind is None:
        kind = "a control character" if token[place].isascii() else "outside ASCII"
    remedy = (
        "leave out 'Bearer'" if token.startswith("Bearer ") else "it must be visible ASCII characters without blanks"
    )
    return f"character {place + 1} is {kind}; {remedy}"


def _check(token: str) -> None:
    complaint = token_complaint(token)
    if complaint:
        raise InvalidArgumentError(f"token: {complaint}")


def _targets(endpoint: str | Sequence[str], *, tls: bool) -> tuple[tuple[str, ...], bool]:
    """The targets of ``endpoint``, and whether they use TLS: ``tls``, or all of them say so."""
    endpoints = endpoints_of(endpoint)
    for each in endpoints:
        complaint = endpoint_complaint(each)
        if complaint:
            raise InvalidArgumentError(f"endpoint: {complaint}")
    parts = [target_of(each) for each in endpoints]
    plain = [target for target, is_secure in parts if not is_secure]
    if plain and len(plain) < len(parts) and not tls:
        raise InvalidArgumentError(
            f"endpoint: {plain[0]!r} is without TLS and others are with it; write grpcs:// before each address"
        )
    is_secure = tls or not plain
    for target, _ in parts:
        if is_secure and target.startswith(("ipv4:", "ipv6:")) and "," in target:
            raise InvalidArgumentError(
                f"endpoint: with TLS, {target!r} has no name that a certificate can be for; give each address as an "
                "endpoint of its own, such as grpcs://10.0.0.1:50051,grpcs://10.0.0.2:50051"
            )
    return tuple(target for target, _ in parts), is_secure


def _keep_here(targets: Sequence[str]) -> None:
    """Raises ``InvalidArgumentError`` if one of ``targets`` isn't on this machine."""
    for target in targets:
        if not stays_here(target):
            raise InvalidArgumentError(
                f"token: on the way to {target!r} anyone could read it, because the connection has no TLS; use "
                "grpcs://HOST:PORT, or allow it with allow_plaintext_token (--allow-plaintext-token)"
            )


def _read(keyword: str, path: str | PathLike[str], mark: bytes) -> bytes:
    """The content of the PEM file at ``path``, which must hold ``mark``."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        raise InvalidArgumentError(f"{keyword}: cannot read {path}: {getattr(error, 'strerror', error)}") from None
    if mark not in content:
        kind = "certificate" if mark is _CERTIFICATE else "private key"
        raise InvalidArgumentError(f"{keyword}: {path} holds no {kind} in PEM")
    return content


def _trust(context: ssl.SSLContext, path: str | PathLike[str], authorities: bytes) -> None:
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise InvalidArgumentError(f"tls_ca: a certificate in {path} is damaged ({reason})") from None


def _identity(context: ssl.SSLContext, cert: str | PathLike[str], key: str | PathLike[str]) -> tuple[bytes, bytes]:
    """The client's certificate chain and private key, once ``context`` has taken them."""
    chain, private = _read("tls_cert", cert, _CERTIFICATE), _read("tls_key", key, _KEY)
    if _ENCRYPTED in private:
        raise InvalidArgumentError(
            f"tls_key: {key} is encrypted; save the key without a passphrase, readable by you alone"
        )
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "damaged"
        if "MISMATCH" in reason:
            raise InvalidArgumentError(f"tls_key: {key} is not the key of the certificate in {cert}") from None
        raise InvalidArgumentError(f"tls_cert, tls_key: {cert} and {key} can't be used ({reason})") from None
    return chain, private
