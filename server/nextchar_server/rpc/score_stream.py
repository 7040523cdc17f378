"""Texts that are scored while they come, whatever their length.

The service calls ``score_stream`` per call of ``ScoreStream``. One task receives the text and spells it; the other one
lets a long stream of the engine read it, part by part, and sends the scores. While a part is read, the next one comes.

Invariant: a call holds a bounded part of its text, and takes more only when there is room; the scores have the bits
that they have in ``Score``, however the text was cut.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Spelling

from .. import memory
from ..access import callers
from ..catalog import ServedModel
from ..engine.long_stream import LongStream
from ..engine.stream import End, IdChunk, Stream
from ..pacing import Pacer
from ..text.text import ReadText
from ..text.total import Total
from . import facts, footprint, responses
from .errors import DrainingError, InvalidArgumentError, NoMessageError
from .interceptor import Context, request_id
from .parts import PART, SpelledParts
from .score_requests import Settings, settings

_LIGHT = 1024
"""Code points of a part that is spelled at once."""

_HELD = 3 * PART * 36
"""Bytes of the parts that a call holds: one is read, one waits, one comes; each has its text, ids and lengths."""


async def score_stream(
    messages: AsyncGenerator[pb.ScoreStreamRequest, None],
    context: Context,
    model_of: Callable[[str], ServedModel],
    pacer: Pacer,
    submitted: Callable[[ServedModel, Stream, Context], AbstractContextManager[None]],
) -> None:
    """Answers a call. Raises ``RequestError``.

    ``model_of`` returns the model of a name. ``submitted`` surrounds the life of the call's stream.
    """
    first = await anext(messages, None)
    if first is None:
        raise NoMessageError("the call ended without a request message")
    with model_of(first.settings.model) as model:
        asked = await pacer.run(settings(first.settings, model.alphabet))
        ranks = footprint.details(model.runner.description) if asked.details else 0
        row = footprint.row(model.runner.description) + ranks
        memory.current.get().grow(row + footprint.stream(asked.top_logprobs + asked.details) + _HELD)
        scores = RunningScores(asked, model, pacer, context)
        with submitted(model, scores.stream, context):
            await scores.run(first, messages)


class RunningScores:
    """The texts of one call, and the stream that reads them."""

    def __init__(self, asked: Settings, model: ServedModel, pacer: Pacer, context: Context) -> None:
        self._asked = asked
        self._model = model
        self._pacer = pacer
        self._context = context
        self._caller = callers.current.get()
        self.stream = LongStream(
            document_start=model.engine.document_start,
            alternatives=asked.top_logprobs,
            details=asked.details,
            caller=memory.current.get().connection,
        )
        """The stream of its ids. The caller submits it before ``run``, and releases it afterwards."""
        # Of the task that receives.
        self._spelled = self._new_text()
        self._has_text = False  # since the latest end of a text
        self._failure: Exception | None = None
        # Between the two.
        self._came: deque[Spelling | None] = deque()  # None ends a text
        self._waiting = 0  # characters of them, and one for each
        self._room = asyncio.Event()
        self._is_over = False  # nothing else comes
        # Of the task that sends.
        self._is_reading = True  # at first it reads nothing, to have had a row
        self._read: ReadText | None = None  # the part that is read
        self._begins = True
        self._total = Total()
        self._characters = 0  # of the text so far
        self._made = [
            pb.ScoreStreamResponse(
                started=pb.ScoreStarted(request_id=request_id(), model=model.name, model_digest=model.digest)
            )
        ]

    async def run(self, first: pb.ScoreStreamRequest, messages: AsyncGenerator[pb.ScoreStreamRequest, None]) -> None:
        """Sends the scores of all texts. Raises ``RequestError`` and the errors of ``Engine.take``."""
        receiver = asyncio.create_task(self._receive(first, messages))
        try:
            await self._send()
        finally:
            receiver.cancel()
            await asyncio.wait([receiver])

    # The task that receives.

    async def _receive(
        self, first: pb.ScoreStreamRequest, messages: AsyncGenerator[pb.ScoreStreamRequest, None]
    ) -> None:
        try:
            await self._take_in(first)
            async for message in messages:
                if message.HasField("settings"):
                    raise InvalidArgumentError("settings", "only the first message has them")
                await self._take_in(message)
            if self._has_text:
                self._end_text()
        except Exception as error:
            self._failure = error
        self._is_over = True
        self._rouse()

    async def _take_in(self, message: pb.ScoreStreamRequest) -> None:
        text = message.text
        for start in range(0, len(text), PART):
            while self._waiting >= PART:
                self._room.clear()
                await self._room.wait()
            part = text[start : start + PART]
            async with self._pacer.piece() if len(part) > _LIGHT else nullcontext():
                self._put(self._spelled.add(part))
            self._has_text = True
        if message.is_end:
            self._end_text()

    def _end_text(self) -> None:
        self._put(self._spelled.add("", is_end=True))
        self._put(None)
        self._spelled, self._has_text = self._new_text(), False

    def _put(self, part: Spelling | None) -> None:
        if part is None or part.text:
            self._came.append(part)
            self._waiting += 1 + (len(part.text) if part else 0)
            self._rouse()

    def _rouse(self) -> None:
        """Lets the other task look at the parts that came, if it waits."""
        if not self._is_reading:
            self.stream.end(End.COUNT)
            self.stream.wake()

    def _new_text(self) -> SpelledParts:
        return SpelledParts(self._model.alphabet, "text", self._asked.unknown, self._asked.replacement)

    # The task that sends.

    async def _send(self) -> None:
        while True:
            await self.stream.ready()
            async with self._pacer.piece() if self.stream.sought else nullcontext():
                taken = self._model.engine.take(self.stream)
                if isinstance(taken, IdChunk):
                    self._add(taken)
                    if self.stream.is_read:  # the next part comes first, because the lane waits for it
                        continue
            if taken is End.DRAINED:
                raise DrainingError
            if taken is End.COUNT:
                self.stream.rest()
                if any(self._came):
                    await self._keep_to_rate()
                self._is_reading = self._go_on()
                if self._is_over and not self._is_reading:
                    break
            await self._flush()
        await self._flush()
        if self._failure is not None:
            raise self._failure

    def _add(self, chunk: IdChunk) -> None:
        assert chunk.logprobs is not None
        assert self._read is not None
        self._total.add(chunk.logprobs)
        if self._asked.totals_only:
            return
        read = self._read.feed(chunk)
        if read.text:
            message = pb.ScoreStreamResponse(part=pb.ScoredPart(text=read.text))
            for _ in responses.filled(message.part.character_logprobs, read.logprobs):
                pass  # a chunk is bounded, so these steps are short
            self._made.append(message)

    def _go_on(self) -> bool:
        """Ends the texts that are read, and lets the stream read the parts that came. Returns whether it reads."""
        parts: list[Spelling] = []
        characters = 0
        while self._came and characters < PART:
            part = self._came[0]
            if part is None:
                if parts:
                    break
                self._finish_text()
            else:
                parts.append(part)
                characters += len(part.text)
            self._came.popleft()
            self._waiting -= 1 + (len(part.text) if part else 0)
        self._room.set()
        if not parts:
            return False
        part = parts[0] if len(parts) == 1 else _joined(parts)
        self._read = ReadText(self._model.alphabet, part)
        self.stream.go_on(part.ids, begins=self._begins)
        self._model.engine.admission.park([self.stream])
        self._begins = False
        self._characters += len(part.text)
        self._model.metrics.prompt_characters.inc(len(part.text))
        facts.current.get().read(len(part.text))
        if self._caller is not None:
            self._caller.charge(len(part.text))
        return True

    def _finish_text(self) -> None:
        bits = responses.bits_per_character(self._total.nats, self._characters)
        text = pb.ScoredText(characters=self._characters, total_logprob=self._total.nats, bits_per_character=bits)
        self._made.append(pb.ScoreStreamResponse(text=text))
        self._begins, self._total, self._characters = True, Total(), 0

    async def _keep_to_rate(self) -> None:
        """Waits until the characters of the caller are within its rate, or the stream has to end now."""
        while self._caller is not None and self._caller.debt and not self.stream.is_broken_off:
            await self._caller.turn(callers.LOOK)

    async def _flush(self) -> None:
        """Sends the messages that were made."""
        made, self._made = self._made, []
        if made:
            await self._model.engine.deliver(self.stream, self._write(made))

    async def _write(self, messages: list[pb.ScoreStreamResponse]) -> None:
        for message in messages:
            await self._context.write(message)


def _joined(parts: list[Spelling]) -> Spelling:
    return Spelling(
        "".join([part.text for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )
