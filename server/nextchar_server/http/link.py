"""Links: a request of the HTTP API and the calls that it makes.

Joins the connection, the door to the service, and the route that answers. ``asgi`` makes one for each request and
closes it at the end.

Invariant: a call ends with its request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from nextchar.v1 import generation_pb2 as pb

from ..rpc.inside import Door, InsideCall, Metadata
from ..rpc.status import REQUEST_ID_KEY
from .errors import ApiError, api_error


class Link:
    """One request's way to the service."""

    def __init__(self, door: Door, peer: str, metadata: Metadata, abort: Callable[[], None]) -> None:
        """``peer`` names the connection, which ``abort`` ends."""
        self._door = door
        self._peer = peer
        self._metadata = metadata
        self._abort = abort
        self._calls: list[InsideCall] = []
        self.request_id = ""
        """Of the call that answered last."""

    def model(self, name: str) -> pb.Model | None:
        """Returns the description of a model, without a call; None if there is no such model."""
        return self._door.model(name)

    def call(self, method: str, request: Message) -> InsideCall:
        """Begins a call."""
        call = self._door.call(method, request.SerializeToString(), self._peer, self._metadata)
        call.on_reset = self._abort
        self._calls.append(call)
        return call

    async def answer(self, method: str, request: Message, *, keep: bool = True) -> Any:
        """Returns the only message of a call. Raises ``ApiError``.

        Unless ``keep``, the server then forgets the call, and no longer counts the memory of the message.
        """
        call = self.call(method, request)
        message = await call.receive()
        if message is None:
            raise self.error(call, is_score=method == "Score")
        while await call.receive() is not None:
            pass
        assert call.ended is not None
        self.request_id = str(call.ended.trailers.get(REQUEST_ID_KEY, ""))
        if not keep:
            call.close()
            self._calls.remove(call)
        return message

    def error(self, call: InsideCall, *, is_score: bool = False) -> ApiError:
        """The error of a call that sends no more."""
        assert call.ended is not None
        assert call.ended.code is not grpc.StatusCode.OK
        return api_error(call.ended, is_score=is_score)

    def close(self) -> None:
        """Ends all calls."""
        for call in self._calls:
            call.close()
        self._calls.clear()
