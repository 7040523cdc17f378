"""The gate: which calls need a credential, and whose call it is.

Stands in the interceptor, before the first message of a call is received, so that a stranger can't make the server
parse anything.

Invariant: the call of a stranger costs less than one that is served. To verify signatures takes a tenth of the event
loop at most, however many tokens come, and of each connection one waits at a time: strangers don't keep others waiting
for longer than their number of connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import grpc
import structlog

from ..access.callers import Caller, Callers, current
from ..access.credentials import Credentials, bearer
from ..access.token_list import CredentialError, digest
from ..metrics import CallerMetrics, Metrics
from ..pacing import Pacer
from ..settings.config import Config
from ..watching import Watch
from .call_log import LineLimit
from .errors import CallerRateError, CallerStreamsError, UnauthenticatedError

AUTHORIZATION = "authorization"
"""Key of the metadata that has the credential."""

_PAUSE = 9  # after each signature, in processor times of its verification

_OPEN = ("/grpc.health.v1.Health/",)
_EXEMPT = {
    "reflection": ("/grpc.reflection.",),
    "models": ("/nextchar.v1.GenerationService/GetModel", "/nextchar.v1.GenerationService/ListModels"),
}
_OPEN_PATHS = ("/healthz", "/readyz", "/openapi.json")
_EXEMPT_PATHS = {"metrics": ("/metrics",), "models": ("/v1/models",)}
_TEXTS = tuple(
    f"/nextchar.v1.GenerationService/{name}"
    for name in ("Generate", "GenerateStream", "Score", "ScoreStream", "Rescore", "Complete")
)

_log = structlog.get_logger()

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Gate:
    """The gate of a server. Used on the event loop, unless said otherwise."""

    def __init__(self, config: Config, watch: Watch, metrics: Metrics) -> None:
        """Reads the credentials, and again whenever ``watch`` finds them changed. Raises ``StartError``."""
        caller_metrics = CallerMetrics(metrics.registry)
        self._credentials = Credentials(config, watch, caller_metrics)
        self._callers = Callers(caller_metrics)
        self._rejected = metrics.rejected
        self._open = _OPEN + tuple(method for part in config.exempt for method in _EXEMPT.get(part, ()))
        self._open_paths = _OPEN_PATHS + tuple(path for part in config.exempt for path in _EXEMPT_PATHS.get(part, ()))
        self._lines = LineLimit()
        self._pacer = Pacer(pause=_PAUSE)
        self._turns: dict[str, asyncio.Lock] = {}  # of the connections that have signatures to verify
        self._waiting: Counter[str] = Counter()  # calls for such a turn

    def guards(self, method: str) -> bool:
        """Whether calls of ``method`` need a credential."""
        return not method.startswith(self._open)

    def admits(self, path: str, authorization: str | None) -> bool:
        """Whether a request to the HTTP port needs no credential, or has a valid one. Called in that port's thread."""
        if path in self._open_paths or ("/v1/models" in self._open_paths and path.startswith("/v1/models/")):
            return True
        try:
            self._credentials.accept(authorization)
        except CredentialError:
            self._rejected.labels(UnauthenticatedError.reason).inc()
            return False
        return True

    async def caller(self, context: Context) -> Caller:
        """Returns the caller of a call. Raises ``UnauthenticatedError``."""
        try:
            token = bearer(_authorization(context))
            identity = self._credentials.listed(token)
            if identity is None:
                identity = self._credentials.subject(await self._subject(token, context.peer()))
        except CredentialError as error:
            if (left_out := self._lines.left_out(AUTHORIZATION)) is not None:
                _log.debug("credential_refused", reason=str(error), left_out=left_out)
            raise UnauthenticatedError from None
        return self._callers.get(identity)

    @contextmanager
    def entered(self, method: str, caller: Caller) -> Iterator[None]:
        """Surrounds a call of ``caller``.

        Raises ``CallerStreamsError`` or ``CallerRateError`` if it is to have a text, and the caller has as much as it
        may.
        """
        if method not in _TEXTS:  # the others read no caller
            yield
            return
        most = caller.limits.streams
        if most and caller.streams >= most:
            raise CallerStreamsError(most)
        if debt := caller.debt:
            raise CallerRateError(caller.limits.rate, debt)
        caller.streams += 1
        token = current.set(caller)
        try:
            yield
        finally:
            current.reset(token)
            caller.streams -= 1

    async def _subject(self, token: str, connection: str) -> str:
        """Returns the subject of a signed token. Raises ``CredentialError``."""
        signed, key = self._credentials.signer(token), digest(token)
        if (subject := signed.remembered(key, time.time())) is not None:
            return subject
        async with self._turn(connection):
            if (subject := signed.remembered(key, time.time())) is not None:  # by a call that waited before this one
                return subject
            async with self._pacer.piece():
                subject, expiry = signed.verify(token)
            signed.remember(key, subject, expiry)
            return subject

    @asynccontextmanager
    async def _turn(self, connection: str) -> AsyncIterator[None]:
        lock = self._turns.setdefault(connection, asyncio.Lock())
        self._waiting[connection] += 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[connection] -= 1
            if not self._waiting[connection]:
                del self._waiting[connection], self._turns[connection]


def _authorization(context: Context) -> str:
    """Returns the only credential of a call. Raises ``CredentialError``."""
    try:
        metadata = context.invocation_metadata() or ()
    except UnicodeDecodeError:
        raise CredentialError("metadata that isn't text") from None
    values = [value for key, value in metadata if key == AUTHORIZATION]
    if len(values) != 1 or not isinstance(values[0], str):
        raise CredentialError(f"{len(values)} credentials")
    return values[0]
