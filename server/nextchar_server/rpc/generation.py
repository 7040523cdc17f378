"""A text that is being generated: from a request to its events.

The service makes one per call. The engine's ids come in, pass through the decoder and the search for stop sequences,
and go out as ``Started``, any number of ``Delta``, and ``Finished``.

Invariant: an invalid request is refused when the object is made, before the first event.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.decoder import max_ids

from ..catalog import ServedModel
from ..engine.stream import End, IdChunk, Stream
from ..metrics import Metrics
from ..text import Characters, TextBuilder, TextChunk
from . import requests, responses
from .interceptor import request_id

Send = Callable[[pb.GenerateStreamResponse], Awaitable[None]]
"""Sends an event to the caller. Waits if the caller reads slowly."""


class RunningText:
    """One text, its stream of ids, and the times at which its characters came."""

    def __init__(
        self,
        request: pb.GenerateRequest | pb.GenerateStreamRequest,
        model: ServedModel,
        metrics: Metrics,
        send: Send,
    ) -> None:
        """Raises ``RequestError`` if the request can't be served."""
        self._arrived = time.monotonic()
        self._last: float | None = None  # when the latest characters came
        self._model = model
        self._metrics = metrics
        self._send = send
        self._request = requests.generation(request, model.alphabet, model.limits)
        self.stream = Stream(
            read=self._request.prompt.ids,
            count=max_ids(model.alphabet, self._request.max_characters),
            settings=self._request.settings,
            seed=self._request.seed,
            alternatives=self._request.top_logprobs,
            reports_reading=self._request.echo,
        )
        """The stream of its ids. The caller submits it before ``run``, and releases it afterwards."""
        self._builder = TextBuilder(
            model.alphabet,
            self._request.max_characters,
            self._request.stop_sequences,
            self._request.include_stop_sequence,
        )
        self._echo = Characters(model.alphabet)
        self._echo_left = len(self._request.prompt.ids) if self._request.echo else 0
        self._offset = 0  # characters sent
        self._observed = 0  # generated characters whose time was observed

    async def run(self) -> None:
        """Sends all events of the text."""
        await self._send(responses.started(request_id(), self._model, self._request.seed))
        end = End.COUNT
        while not self._builder.is_complete:
            taken = await self._model.engine.take(self.stream)
            if isinstance(taken, End):
                end = taken
                await self._send_generated(self._builder.end(broken_off=end is End.DRAINED))
                break
            await self._feed(taken)
        await self._finish(end)

    async def _feed(self, chunk: IdChunk) -> None:
        echoed, generated = chunk.split(self._echo_left)
        if self._echo_left:
            self._echo_left -= len(echoed.ids)
            await self._send_text(self._echo.feed(echoed))
            if not self._echo_left:
                await self._send_text(self._echo.flush())
        await self._send_generated(self._builder.feed(generated))

    async def _send_generated(self, text: TextChunk) -> None:
        self._observe(self._builder.generated - self._observed)
        self._observed = self._builder.generated
        await self._send_text(text)

    async def _send_text(self, text: TextChunk) -> None:
        if text.text:
            await self._send(responses.delta(text, self._offset))
            self._offset += len(text.text)

    async def _finish(self, end: End) -> None:
        stopped_by, generated = self._builder.stopped_by, self._builder.generated
        reason = pb.FINISH_REASON_STOP_SEQUENCE if stopped_by else responses.FINISH_REASONS[end]
        read = self._request.prompt.characters_in(self.stream.read_count)
        self._metrics.prompt_characters.labels(self._model.name).inc(read)
        self._metrics.finished.labels(self._model.name, pb.FinishReason.Name(reason)).inc()
        await self._send(responses.finished(reason, stopped_by, read, generated))

    def _observe(self, characters: int) -> None:
        """Observes that ``characters`` more characters came just now."""
        if not characters:
            return
        metrics, name = self._metrics, self._model.name
        now = time.monotonic()
        if self._last is None:
            assert self.stream.admitted_at is not None
            metrics.queue_seconds.labels(name).observe(self.stream.admitted_at - self._arrived)
            metrics.first_character_seconds.labels(name).observe(now - self._arrived)
        else:
            metrics.inter_character_seconds.labels(name).observe((now - self._last) / characters)
        self._last = now
        metrics.generated_characters.labels(name).inc(characters)
