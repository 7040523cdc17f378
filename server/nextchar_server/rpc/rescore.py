"""Candidates: texts that follow one prefix, scored beside each other.

The service makes a ``Candidates`` per call of ``Rescore``. The prefix is read once; each candidate is a stream of the
engine that starts from the state behind it.

Invariant: a call holds ``MOST_AT_ONCE`` places at most, and takes no more than are left to others; candidates take
turns in them. A candidate's log-probabilities have the bits that they have in the score of the whole text.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Spelling

from .. import memory
from ..access import callers
from ..catalog import ServedModel
from ..engine.admission import PushedOutError, QueueFullError
from ..engine.snapshot import Snapshot
from ..engine.stream import End, Stream
from ..pacing import Pacer, Steps
from ..text.logprobs import Collected
from ..text.text import ReadText
from ..text.total import Total
from . import facts, footprint, responses
from .errors import DrainingError
from .interceptor import request_id
from .score_requests import Rescoring, rescoring

MOST_AT_ONCE = 64
"""Most candidates of one call that have a place at the same time: as many rows as steps are quickest for."""

_SCORE = 1024  # bytes of the objects of a candidate: its spelling, its score, and its part of the answer
_TOGETHER = 64  # candidates whose scores are put into the answer in a step


async def rescore(
    request: pb.RescoreRequest,
    model: ServedModel,
    pacer: Pacer,
    submitted: Callable[[Stream], AbstractContextManager[None]],
) -> pb.RescoreResponse:
    """Answers a call. ``submitted`` surrounds the life of its first stream. Raises ``RequestError``."""
    asked = await pacer.run(rescoring(request, model.alphabet, model.limits))
    memory.current.get().grow(_footprint(asked, model))
    prefix = Stream(
        read=asked.prefix.ids, count=0, most_snapshots=1, keeps_end=True, caller=memory.current.get().connection
    )
    with submitted(prefix):
        if (caller := callers.current.get()) is not None:
            caller.charge(len(asked.prefix.text) + asked.characters)
        start = model.engine.document_start
        if asked.prefix.text:
            await prefix.ready()
            if model.engine.take(prefix) is End.DRAINED:
                raise DrainingError
            start = prefix.snapshots[-1]
        candidates = Candidates(asked, model, pacer, start)
        await candidates.run(prefix)
    model.metrics.read(len(asked.prefix.text) + asked.characters)
    facts.current.get().read(len(asked.prefix.text) + asked.characters)
    return await pacer.run(candidates.response())


class Candidates:
    """The candidates of one call."""

    def __init__(self, asked: Rescoring, model: ServedModel, pacer: Pacer, start: Snapshot) -> None:
        """``start`` is the state behind the prefix."""
        self._asked = asked
        self._model = model
        self._engine = model.engine
        self._pacer = pacer
        self._start = start
        self._scores = [_Score(candidate) for candidate in asked.candidates]
        self._left = deque(self._scores)
        self._streams: set[Stream] = set()
        self._workers = 0  # each has a place

    async def run(self, place: Stream) -> None:
        """Scores all candidates, the first one in the place of the stream ``place``.

        Raises ``DrainingError``, ``PushedOutError`` if all places were lost, and ``LaneError``.
        """
        self._engine.release(place)
        workers = [self._work(*self._next())]
        while self._left and len(workers) < min(MOST_AT_ONCE, self._engine.admission.free):
            try:
                workers.append(self._work(*self._next()))
            except QueueFullError:  # its caller has more than its part
                break
        self._workers = len(workers)
        tasks = [asyncio.create_task(worker) for worker in workers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            for stream in self._streams:
                self._engine.release(stream)

    def _next(self) -> tuple[_Score, Stream]:
        """Submits the stream of the next candidate. Raises ``QueueFullError``."""
        score = self._left[0]
        stream = Stream(
            read=score.text.ids,
            count=0,
            alternatives=self._asked.top_logprobs or 0,
            reports_reading=True,
            start=self._start,
            caller=memory.current.get().connection,
        )
        self._engine.submit(stream)
        self._streams.add(stream)
        self._left.popleft()
        return score, stream

    async def _work(self, score: _Score, stream: Stream) -> None:
        """Scores candidates one after another in one place, until none is left or others need the place."""
        while True:
            try:
                await self._read(score, stream)
            except PushedOutError:
                if self._workers == 1:
                    raise
                self._left.appendleft(score)
                break
            is_needed = self._workers > 1 and not self._engine.admission.free
            self._streams.discard(stream)
            self._engine.release(stream)
            if is_needed or not self._left:
                break
            score, stream = self._next()  # in the place that has just become free
        self._workers -= 1

    async def _read(self, score: _Score, stream: Stream) -> None:
        read, total = ReadText(self._model.alphabet, score.text), Total()
        logprobs = None if self._asked.top_logprobs is None else Collected(len(score.text.text))
        while True:
            await stream.ready()
            async with self._piece():
                taken = self._engine.take(stream)
                if taken is End.DRAINED:
                    raise DrainingError
                if isinstance(taken, End):
                    break
                assert taken.logprobs is not None
                total.add(taken.logprobs)
                if logprobs is not None:
                    logprobs.add(read.feed(taken).logprobs)
        score.nats, score.logprobs = total.nats, logprobs

    def _piece(self) -> AbstractAsyncContextManager[None]:
        return self._pacer.piece() if self._asked.top_logprobs else nullcontext()

    def response(self) -> Steps[pb.RescoreResponse]:
        """Makes the answer, in steps."""
        message = pb.RescoreResponse(request_id=request_id(), model=self._model.name, model_digest=self._model.digest)
        for place, score in enumerate(self._scores):
            if place and place % _TOGETHER == 0:
                yield
            text = score.text.text
            bits = responses.bits_per_character(score.nats, len(text))
            one = message.scores.add(total_logprob=score.nats, bits_per_character=bits, text=text)
            if score.logprobs is not None:
                yield from responses.filled(one.character_logprobs, score.logprobs.all())
        return message


@dataclass
class _Score:
    """The score of one candidate, once it is read."""

    text: Spelling
    nats: float = 0.0
    """Sum of its log-probabilities."""
    logprobs: Collected | None = None
    """None if they aren't asked for."""


def _footprint(asked: Rescoring, model: ServedModel) -> int:
    """Returns the most memory, in bytes, that a call takes beside its request."""
    rows = min(MOST_AT_ONCE, len(asked.candidates))
    row = footprint.row(model.runner.description) + footprint.stream(asked.top_logprobs or 0)
    return rows * row + len(asked.candidates) * _SCORE + footprint.answer(asked.characters, asked.top_logprobs)
