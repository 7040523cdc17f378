"""Streams of the HTTP API: server-sent events.

Turns the messages of ``GenerateStream`` into events in OpenAI's shape. The id of an event is a place in the text, with
which a browser that reconnects continues.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Invariant: the texts of all events, put
together, are the text, however often the stream was cut and continued.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from nextchar.v1 import generation_pb2 as pb

from ..rpc.inside import InsideCall
from . import responses
from .link import Link
from .place import Place

PATIENCE = 5.0
"""Seconds for which a stream waits for its first event before it says that all is well so far."""

_HEARTBEAT = 10.0  # seconds without an event after which a comment keeps the line
_COMMENT = ": waiting\n\n"
_DONE = "data: [DONE]\n\n"

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Of a stream: nobody on the way may keep it."""


def event(content: object, place: Place | None = None) -> str:
    """Returns an event."""
    identifier = "" if place is None else f"id: {place}\n"
    return f"{identifier}data: {responses.encoded(content)}\n\n"


def ending(model: str, place: Place) -> str:
    """The end of a stream of which only that was lost."""
    usage = responses.usage(0, place.generated)
    end = Place(place.generated, place.offset, place.token, is_end=True)
    last = {"object": "text_completion", "model": model, "choices": [responses.choice("", "length")], "usage": usage}
    return event(last, end) + _DONE


class Events:
    """The events of one stream."""

    def __init__(
        self, link: Link, call: InsideCall, start: Place | None, *, echoed: int = 0, with_usage: bool = False
    ) -> None:
        """``start`` is the place behind which the stream continues; otherwise it begins with ``echoed`` characters.

        ``with_usage`` adds a chunk without choices.
        """
        self._link = link
        self._call = call
        self._with_usage = with_usage
        self._generated = 0 if start is None else start.generated
        self._offset = 0 if start is None else start.offset
        self._before = self._generated
        self._echoed = echoed
        self._head: dict[str, Any] = {}

    async def first(self) -> pb.GenerateStreamResponse | None:
        """Returns the first message; None if it takes long. Raises ``ApiError``."""
        try:
            async with asyncio.timeout(PATIENCE):
                message: pb.GenerateStreamResponse | None = await self._call.receive()
        except TimeoutError:
            return None
        if message is None:
            raise self._link.error(self._call)
        return message

    async def texts(self, message: pb.GenerateStreamResponse | None) -> AsyncGenerator[str, None]:
        """Yields all events, of which ``message`` is the first."""
        if message is None:
            yield _COMMENT
        while True:
            if message is not None:
                yield self._text(message)
                if message.HasField("finished"):
                    return
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    message = await self._call.receive()
            except TimeoutError:
                message = None
                yield _COMMENT
                continue
            if message is None:
                assert self._call.ended is not None
                if self._call.ended.code is not grpc.StatusCode.OK:
                    yield event(self._link.error(self._call).content)
                return

    def _text(self, message: pb.GenerateStreamResponse) -> str:
        if message.HasField("started"):
            self._head = responses.head(message.started)
            return ""
        if message.HasField("delta"):
            return self._delta(message.delta)
        return self._finished(message.finished)

    def _delta(self, delta: pb.Delta) -> str:
        more: dict[str, Any] = {}
        if delta.HasField("character_logprobs"):
            more["logprobs"] = responses.logprobs(delta.text, delta.character_logprobs, self._offset)
        if delta.HasField("activations"):
            more["activations"] = responses.activations(delta.activations)
        self._offset += len(delta.text)
        self._generated += len(delta.text)
        place = None
        if delta.resume_token:
            place = Place(self._generated - self._echoed, self._offset, delta.resume_token)
        return event({**self._head, "choices": [responses.choice(delta.text, None, **more)]}, place)

    def _finished(self, finished: pb.Finished) -> str:
        reason, read = responses.reason(finished), finished.usage
        is_end = reason != responses.DRAINING
        place = Place(self._generated - self._echoed, self._offset, finished.resume_token, is_end)
        usage = responses.usage(read.prompt_characters, self._before + read.generated_characters)
        more = {"stop_sequence": finished.stop_sequence} if finished.stop_sequence else {}
        last = {**self._head, "choices": [responses.choice("", reason, **more)], "usage": usage}
        if not is_end:
            return event(last, place if finished.resume_token else None)
        sum_only = event({**self._head, "choices": [], "usage": usage}) if self._with_usage else ""
        return event(last, place) + sum_only + _DONE
