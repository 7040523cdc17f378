"""Streams of the HTTP API: server-sent events.

Turns the messages of ``GenerateStream`` into events in OpenAI's shape. The id of an event is a mark in the text, or a
place with its resume token, with which a browser that reconnects continues. Behind a mark, the text is generated again,
and the characters before it are left out here.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. Invariant: the texts of all events, put
together, are the text, however often the stream was cut and continued.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from nextchar.v1 import generation_pb2 as pb

from ..rpc.inside import InsideCall
from . import responses
from .link import Link
from .marks import Mark
from .place import Place
from .schema import CompletionRequest

PATIENCE = 5.0
"""Seconds for which a stream waits for its first event before it says that all is well so far."""

_HEARTBEAT = 10.0  # seconds without an event after which a comment keeps the line
_LONGEST_ID = 6000  # characters of an id that come back in a header
_COMMENT = ": waiting\n\n"
_DONE = "data: [DONE]\n\n"

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Of a stream: nobody on the way may keep it."""


def event(content: object, place: Mark | Place | None = None) -> str:
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
        self,
        link: Link,
        call: InsideCall,
        body: CompletionRequest,
        *,
        start: Mark | Place | None,
        has_marks: bool,
        echoed: int | None,
    ) -> None:
        """The stream continues behind ``start``, if there is one; otherwise it begins with ``echoed`` characters.

        With ``has_marks``, ids are marks. ``echoed`` is None if it isn't known how many characters that are.
        """
        self._link = link
        self._call = call
        self._body = body
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        self._has_marks = has_marks
        self._mark: Mark | None = None  # of the beginning
        place = start if isinstance(start, Place) else None
        self._generated = 0 if place is None else place.generated
        self._offset = 0 if place is None else place.offset
        self._known = start.offset if isinstance(start, Mark) else 0  # characters that the caller has
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
        spoke = time.monotonic()
        while True:
            if message is not None:
                if text := self._text(message):
                    yield text
                    spoke = time.monotonic()
                if message.HasField("finished"):
                    return
            if time.monotonic() - spoke >= _HEARTBEAT:
                yield _COMMENT
                spoke = time.monotonic()
            message = None
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    message = await self._call.receive()
            except TimeoutError:
                continue
            if message is None:
                assert self._call.ended is not None
                if self._call.ended.code is not grpc.StatusCode.OK:
                    yield event(self._link.error(self._call).content)
                return

    def _text(self, message: pb.GenerateStreamResponse) -> str:
        if message.HasField("started"):
            started = message.started
            self._head = responses.head(started)
            if self._has_marks:
                self._mark = Mark.first(self._body, started.seed, started.model_digest, started.numeric_class)
            return ""
        if message.HasField("delta"):
            return self._delta(message.delta)
        return self._finished(message.finished)

    def _delta(self, delta: pb.Delta) -> str:
        more: dict[str, Any] = {}
        size, before = len(delta.text), self._offset
        start = min(size, max(0, self._known - before))
        self._offset += size
        self._generated += size
        if start and start == size:
            return ""
        if delta.HasField("character_logprobs"):
            more["logprobs"] = responses.logprobs(delta.text, delta.character_logprobs, before, start)
        if delta.HasField("activations"):
            more["activations"] = responses.activations(delta.activations, start)
        place = self._place(delta.resume_token) if self._mark is None else self._mark.at(self._offset)
        return event({**self._head, "choices": [responses.choice(delta.text[start:], None, **more)]}, place)

    def _finished(self, finished: pb.Finished) -> str:
        reason, read = responses.reason(finished), finished.usage
        is_end = reason != responses.DRAINING
        place: Mark | Place | None = self._place(finished.resume_token, is_end=is_end)
        if self._mark is not None and not self._is_handy(place, is_end=is_end):
            place = self._mark.at(max(self._known, self._offset), is_end=is_end)
        usage = responses.usage(read.prompt_characters, self._before + read.generated_characters)
        more = {"stop_sequence": finished.stop_sequence} if finished.stop_sequence else {}
        last = {**self._head, "choices": [responses.choice("", reason, **more)], "usage": usage}
        if not is_end:
            return event(last, place)
        sum_only = event({**self._head, "choices": [], "usage": usage}) if self._with_usage else ""
        return event(last, place) + sum_only + _DONE

    def _place(self, token: bytes, *, is_end: bool = False) -> Place | None:
        """Returns where the text stands; None without a token, unless it is the end."""
        if self._echoed is None or not (token or is_end):
            return None
        return Place(self._generated - self._echoed, self._offset, token, is_end)

    def _is_handy(self, place: Mark | Place | None, *, is_end: bool) -> bool:
        """Whether another server had better continue from ``place`` than generate the text again."""
        return not is_end and place is not None and self._offset >= self._known and len(str(place)) <= _LONGEST_ID
