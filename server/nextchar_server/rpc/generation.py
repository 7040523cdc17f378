"""A text that is being generated: from a request to its events.

The service makes one per call. The engine's ids come in, pass through the decoder and the search for stop sequences,
and go out as ``Started``, any number of text chunks, and ``Finished``.

Invariant: the work between two waits is
bounded, and paced if it is heavy.
"""

from __future__ import annotations

import time

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.decoder import is_one_to_one, max_ids

from .. import memory
from ..catalog import ServedModel
from ..engine.stream import OUTBOX_IDS, End, IdChunk, Stream
from ..metrics import TextMetrics
from ..pacing import Pacer
from ..text import ReadText, TextBuilder, TextChunk
from . import requests, responses
from .interceptor import request_id

_COMPOSED_IDS = 256
"""Most ids that are composed to characters at a time: one takes some 3 µs."""

_STOP_CHARACTERS = 512
"""Characters of all stop sequences together from which the search for them is heavy: up to 0.1 µs each per message."""


class RunningText:
    """One text, its stream of ids, and the times at which its characters came."""

    def __init__(
        self,
        request: requests.Generation,
        model: ServedModel,
        metrics: TextMetrics,
        pacer: Pacer,
        out: responses.StreamedText | responses.WholeText,
        *,
        arrived: float,
    ) -> None:
        """``arrived`` is ``time.monotonic()`` when the request came."""
        self._arrived = arrived
        self._last: float | None = None  # when the latest characters came
        self._model = model
        self._metrics = metrics
        self._pacer = pacer
        self._out = out
        self._request = request
        self.stream = Stream(
            read=self._request.prompt.ids,
            count=max_ids(model.alphabet, self._request.max_characters),
            settings=self._request.settings,
            seed=self._request.seed,
            alternatives=self._request.top_logprobs,
            reports_reading=self._request.echo,
            most_taken=OUTBOX_IDS if is_one_to_one(model.alphabet) else _COMPOSED_IDS,
            caller=memory.current.get().connection,
        )
        """The stream of its ids. The caller submits it before ``run``, and releases it afterwards."""
        self._builder = TextBuilder(
            model.alphabet,
            self._request.max_characters,
            self._request.stop_sequences,
            self._request.include_stop_sequence,
        )
        self._echo = ReadText(model.alphabet, self._request.prompt) if self._request.echo else None
        self._observed = 0  # generated characters whose time was observed
        self.is_heavy = (
            self._request.top_logprobs is not None or sum(map(len, self._request.stop_sequences)) > _STOP_CHARACTERS
        )
        """Whether the work for its messages has to be paced."""

    async def run(self) -> None:
        """Sends all events of the text."""
        # Sent with the first characters: until then, a call that loses its place has no headers and is tried again.
        self._out.start(responses.started(request_id(), self._model, self._request.seed))
        end: End | None = None
        while end is None and not self._builder.is_complete:
            await self.stream.ready()
            if self.is_heavy:
                async with self._pacer.piece():  # until its turn, more ids gather
                    end = self._take()
            else:
                end = self._take()
            await self._model.engine.deliver(self.stream, self._out.flush())
        self._finish(end or End.COUNT)
        await self._model.engine.deliver(self.stream, self._out.flush())

    def _take(self) -> End | None:
        """Turns what the stream has into text. Returns the end if that is what it has."""
        taken = self._model.engine.take(self.stream)
        if isinstance(taken, End):
            self._add(self._builder.end(broken_off=taken is End.DRAINED))
            return taken
        self._feed(taken)
        return None

    def _feed(self, chunk: IdChunk) -> None:
        if self._echo is not None and (left := self._echo.left):
            self._out.add(self._echo.feed(chunk[:left]))
            chunk = chunk[left:]
        if len(chunk):
            self._add(self._builder.feed(chunk))

    def _add(self, generated: TextChunk) -> None:
        self._observe(self._builder.generated - self._observed)
        self._observed = self._builder.generated
        self._out.add(generated)

    def _finish(self, end: End) -> None:
        stopped_by, generated = self._builder.stopped_by, self._builder.generated
        reason = pb.FINISH_REASON_STOP_SEQUENCE if stopped_by else responses.FINISH_REASONS[end]
        read = self._request.prompt.characters_in(self.stream.read_count)
        self._metrics.prompt_characters.inc(read)
        self._metrics.finish(pb.FinishReason.Name(reason))
        self._out.finish(responses.finished(reason, stopped_by, read, generated))

    def _observe(self, characters: int) -> None:
        """Observes that ``characters`` more characters came just now."""
        if not characters:
            return
        metrics = self._metrics
        now = time.monotonic()
        if self._last is None:
            assert self.stream.admitted_at is not None
            metrics.queue_seconds.observe(self.stream.admitted_at - self._arrived)
            metrics.first_character_seconds.observe(now - self._arrived)
        else:
            metrics.inter_character_seconds.observe((now - self._last) / characters)
        self._last = now
        metrics.generated_characters.inc(characters)
