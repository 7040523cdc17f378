"""Credentials: the tokens that the server accepts, as their files say now.

Stands between the two kinds of tokens (``token_list``, ``signed_tokens``) and the two ports. Both files are read again
when they change.

Invariant: a file that is wrong changes nothing; each file's content is replaced as a whole, so the threads of both
ports may ask at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import structlog

from ..listening import StartError
from ..metrics import CallerMetrics
from ..settings.config import Config
from ..watching import Watch
from .callers import Identity, Limits
from .token_list import CredentialError, TokenList, digest, read_token_list

if TYPE_CHECKING:
    from .signed_tokens import SignedTokens

MOST_TOKEN = 8 * 1024
"""Most characters of a token."""

_SCHEME = "bearer"
_DOTS = 2  # of a signed token

_log = structlog.get_logger()

_Content = TypeVar("_Content")


class Credentials:
    """The credentials of one server."""

    def __init__(self, config: Config, watch: Watch, metrics: CallerMetrics) -> None:
        """Reads the files, and again whenever ``watch`` finds them changed. Raises ``StartError``."""
        self._default = Limits(config.caller_streams, config.caller_rate)
        self._reloads = metrics.reloads
        self._listed: TokenList = MappingProxyType({})
        self._names: dict[str, Identity] = {}
        self.signed: SignedTokens | None = None
        """The tokens of the issuer: another object after its keys changed. None without an issuer."""
        if path := config.auth_tokens_file:
            self._take(watch, path, lambda: read_token_list(path, self._default), self._take_list)
        if config.auth_jwks_file:
            self._take(watch, config.auth_jwks_file, _issuer_reader(config), self._take_issuer)

    def listed(self, token: str) -> Identity | None:
        """Returns the caller whose token is in the list."""
        return self._listed.get(digest(token))

    def subject(self, name: str) -> Identity:
        """Returns the caller that a signed token names. One of the same name in the list is the same caller."""
        return self._names.get(name) or Identity(name, self._default, is_listed=False)

    def signer(self, token: str) -> SignedTokens:
        """Returns the issuer that may have signed ``token``, which isn't in the list. Raises ``CredentialError``."""
        if self.signed is None or token.count(".") != _DOTS:
            raise CredentialError("unknown token")
        return self.signed

    def accept(self, authorization: str | None) -> None:
        """Checks a credential and remembers nothing of it: the HTTP port has few requests.

        Raises ``CredentialError``.
        """
        token = bearer(authorization)
        if self.listed(token) is None:
            self.signer(token).verify(token)

    def _take(
        self,
        watch: Watch,
        path: Path,
        read: Callable[[], _Content],
        take: Callable[[_Content], None],
    ) -> None:
        """Reads a file now, and again when it changes."""

        async def read_again() -> None:
            try:
                take(await asyncio.to_thread(read))
            except StartError as error:
                self._reloads.labels("failed").inc()
                _log.error("credentials_reload_failed", error=str(error), hint="those before it stay in use")
            else:
                self._reloads.labels("ok").inc()
                _log.info("credentials_reloaded", path=str(path))

        watch.add(lambda: [path], read_again)
        take(read())

    def _take_list(self, listed: TokenList) -> None:
        self._listed = listed
        self._names = {identity.name: identity for identity in listed.values()}

    def _take_issuer(self, signed: SignedTokens) -> None:
        self.signed = signed


def bearer(authorization: str | None) -> str:
    """Returns the token of ``authorization``, which has the form ``Bearer TOKEN`` (RFC 6750).

    Raises ``CredentialError`` if it has another one.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != _SCHEME:
        raise CredentialError("no bearer token")
    if not 0 < len(token := token.strip(" ")) <= MOST_TOKEN:
        raise CredentialError("empty or too long")
    return token


def _issuer_reader(config: Config) -> Callable[[], SignedTokens]:
    path = config.auth_jwks_file
    assert path is not None
    try:
        from .signed_tokens import read_issuer
    except ModuleNotFoundError as error:
        raise StartError(
            f"--auth-jwks-file needs PyJWT ({error.name} is missing): pip install 'nextchar[server,server-jwt]'"
        ) from None
    return lambda: read_issuer(path, config.auth_jwt_issuer, config.auth_jwt_audience)
