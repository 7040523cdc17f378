"""The connection of a client to its servers, and the tries of one call.

Every group of methods of ``AsyncClient`` builds on it. Invariant: a call that a server turns away is sent again until
its tries or its time are over, and every failure is a ``NextcharError``.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import grpc
import grpc.aio

from nextchar.v1 import generation_pb2_grpc as rpc

from .access import Access
from .continuation import CutError
from .deadline import seconds_of
from .diagnosis import Diagnosis
from .endpoint import DEFAULT_ENDPOINT
from .errors import InternalError, InvalidArgumentError, NextcharError, error_of_call
from .fork import Origin, keep_at_fork
from .options import AccessOptions
from .replicas import Replicas
from .retries import Retries


class Connection:
    """The part of ``AsyncClient`` that all its methods share; the arguments are documented there."""

    def __init__(
        self,
        endpoint: str | Sequence[str] = DEFAULT_ENDPOINT,
        *,
        timeout: float | None = None,
        **access: Unpack[AccessOptions],
    ) -> None:
        self._timeout = _checked(timeout)
        self._origin = Origin()
        self._is_closed = False
        self._access = Access(endpoint, **access)
        self._diagnosis = Diagnosis(self._access)
        self._servers = Replicas(self._access, rpc.GenerationServiceStub)
        self._health: Replicas | None = None  # opened by the first health check

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._origin.is_here:  # a forked process that leaves with an error keeps its own
            await self.close()

    async def close(self) -> None:
        """Ends all calls and closes the connection."""
        self._origin.require_here()
        self._is_closed = True
        await self._servers.close()
        if self._health is not None:
            await self._health.close()

    async def _answer(self, method: str, request: Any, timeout: float | None) -> Any:
        """The answer of a unary ``method`` to ``request``, which is sent again if the server turns it away."""
        retries = Retries(self._seconds(timeout), servers=len(self._servers))
        while True:
            self._require_usable()
            try:
                call = getattr(self._servers.stub(), method)(
                    request, timeout=retries.seconds_left, metadata=self._metadata(retries)
                )
                return readable(await keep_at_fork(call))
            except grpc.aio.AioRpcError as failure:
                if self._is_closed or not await retries.pause(failure):
                    raise await self._error(failure, retries) from failure

    async def _error(self, trouble: grpc.aio.AioRpcError | CutError, retries: Retries) -> NextcharError:
        """The exception for a call that failed for good, with the reason if it is one of TLS."""
        if isinstance(trouble, CutError):
            return trouble.otherwise
        error = error_of_call(trouble)
        return error if self._is_closed else await self._diagnosis.explain(error, retries.seconds_left)

    def _metadata(self, retries: Retries) -> tuple[tuple[str, str], ...]:
        return (*retries.metadata, *self._access.metadata)

    def _seconds(self, timeout: float | None) -> float | None:
        return self._timeout if timeout is None else _checked(timeout)

    def _require_usable(self) -> None:
        self._origin.require_here()
        if self._is_closed:
            raise RuntimeError("the client is closed")


def readable(message: Any) -> Any:
    """``message``. Raises ``InternalError`` if it is None, which gRPC passes on in place of one that it can't parse."""
    if message is None:
        raise InternalError("a message of the server can't be parsed")
    return message


def _checked(timeout: float | None) -> float | None:
    try:
        return seconds_of(timeout)
    except ValueError as error:
        raise InvalidArgumentError(str(error)) from None
