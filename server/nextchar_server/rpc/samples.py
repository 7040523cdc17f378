"""Samples: several texts of one call, which share the reading of its prompt.

The service makes one for a call of ``Generate`` that asks for several texts. The prompt is read by a stream that
generates nothing; each text is a stream of its own from the state after it, in the same lanes as all others.

Invariant: sample i is bit for bit the text of a call for one text with the seed of sample i. The call takes one place
like any other, and more only while they are free and its connection holds less than its even share.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.draws import sample_seed

from .. import memory
from ..access import callers
from ..catalog import ServedModel
from ..engine.admission import PushedOutError, QueueFullError
from ..engine.stream import End, IdChunk, Stream
from ..pacing import Pacer, Steps
from . import facts, footprint, requests, responses
from .errors import DrainingError, InvalidArgumentError, OverloadedError
from .generation import RunningText
from .interceptor import request_id
from .streams import ReadPrompt, make_reading

MOST = 64
"""Most texts of a call."""

MOST_CHARACTERS = 100_000
"""Most characters of all texts of a call together."""

_TOGETHER = 8  # texts that are begun in one piece of work on the event loop


@dataclass(frozen=True)
class Wanted:
    """The texts that a request asks for."""

    first: int
    """Number of the first sample."""
    count: int
    """How many are generated."""
    returned: int
    """How many are returned."""
    are_best: bool
    """Whether those with the highest mean log-probability are returned."""


def wanted(request: pb.GenerateRequest) -> Wanted | None:
    """Returns the texts that ``request`` asks for; None if it asks for one text. Raises ``InvalidArgumentError``."""
    are_best = request.HasField("best_of")
    if not are_best and not request.HasField("samples"):
        if request.HasField("first_sample"):
            raise InvalidArgumentError("first_sample", "only goes with samples or best_of")
        return None
    returned = request.samples if request.HasField("samples") else 1
    if not 1 <= returned <= MOST:
        raise InvalidArgumentError("samples", f"{returned} is not between 1 and {MOST}")
    count = request.best_of if are_best else returned
    if not returned <= count <= MOST:
        raise InvalidArgumentError("best_of", f"{count} is not between {returned}, the texts to return, and {MOST}")
    if request.first_sample + count > 2**64:
        raise InvalidArgumentError("first_sample", f"{request.first_sample} leaves no numbers for {count} samples")
    return Wanted(request.first_sample, count, returned, are_best)


class Samples:
    """The texts of one call."""

    def __init__(self, wanted: Wanted, generation: requests.Generation, model: ServedModel, pacer: Pacer) -> None:
        """For texts as ``generation`` says. Takes their memory.

        Raises ``InvalidArgumentError`` if they have too many characters together.
        """
        _check(wanted, generation)
        if generation.constraint is not None:
            generation.constraint.hold_copies(wanted.count - 1, model.engine.lanes)
        self._seed = generation.seed
        self._wanted = wanted
        self._returns_logprobs = generation.top_logprobs is not None
        if wanted.are_best and generation.top_logprobs is None:
            generation = replace(generation, top_logprobs=0)
        self._generation = generation
        self._model = model
        self._pacer = pacer
        self._caller = callers.current.get()
        self._connection = memory.current.get().connection
        self._pending = deque(range(wanted.first, wanted.first + wanted.count))
        self._running = 0
        self._changed = asyncio.Event()
        self._done: dict[int, tuple[responses.WholeText, float | None]] = {}  # and the log-probability of its end
        size = footprint.sample(model.runner.description, generation.most_characters, generation.top_logprobs)
        memory.current.get().grow(wanted.count * size)
        self._read: ReadPrompt | None = None
        self._reading: Stream | None = None
        self._first: tuple[int, RunningText, responses.WholeText] | None = None
        self.lead: Stream
        """The first stream of the call. The service submits it before ``run``, and releases it afterwards."""
        if generation.start is None and len(generation.prompt.ids):
            self._reading = self.lead = make_reading(generation)
            if generation.echo:
                characters = len(generation.prompt.text)
                memory.current.get().grow(footprint.answer(characters, generation.top_logprobs))
        else:
            self._first = self._next()
            self.lead = self._first[1].stream

    async def run(self) -> None:
        """Generates all texts. Raises ``DrainingError`` if the server ends them, and the engine's errors."""
        if self._reading is not None:
            await self._read_prompt(self._reading)
        try:
            async with asyncio.TaskGroup() as group:
                await self._start_all(group)
        except BaseExceptionGroup as errors:
            raise _first_of(errors) from None

    def response(self) -> Steps[pb.GenerateResponse]:
        """Makes the response in steps, after ``run``."""
        read = len(self._generation.prompt.text) if self._generation.echo else 0
        texts = []
        for index in sorted(self._done):
            whole, end_logprob = self._done[index]
            total, count = whole.logprob_after(read)
            if end_logprob is not None:
                total, count = total + end_logprob, count + 1
            texts.append((-total / count if count else float("inf"), index, whole, total))
        if self._wanted.are_best:
            texts.sort(key=lambda text: text[:2])
        message = pb.GenerateResponse(started=responses.started(request_id(), self._model, self._seed))
        for _, index, whole, total in texts[: self._wanted.returned]:
            sample = message.samples.add(index=index, seed=sample_seed(self._seed, index))
            if self._wanted.are_best:
                sample.total_logprob = total
            yield from whole.put_into(sample, with_logprobs=self._returns_logprobs)
        return message

    async def _read_prompt(self, stream: Stream) -> None:
        """Reads the prompt once."""
        engine, prompt = self._model.engine, self._generation.prompt
        if self._caller is not None:
            self._caller.charge(len(prompt.text))
        chunks: list[IdChunk] = []
        while True:
            await stream.ready()
            taken = engine.take(stream)
            if isinstance(taken, End):
                break
            chunks.append(taken)
        engine.release(stream)
        if taken is End.DRAINED:
            raise DrainingError
        self._model.metrics.read(len(prompt.text))
        facts.current.get().read(len(prompt.text))
        self._read = ReadPrompt(stream.snapshots[-1], tuple(chunks))

    async def _start_all(self, group: asyncio.TaskGroup) -> None:
        """Starts the texts, each as soon as there is a place for it."""
        if self._first is not None:
            self._start(group, *self._first)
        begun = 0
        while self._pending or self._running:
            self._changed.clear()
            if not self._pending or not await self._may_start():
                await self._changed.wait()
                continue
            index, text, whole = self._next()
            try:
                self._model.engine.submit(text.stream)
            except QueueFullError as error:
                if not self._done:  # nothing is lost
                    raise OverloadedError(str(error), self._model.returns.delay()) from None
                self._pending.appendleft(index)
                await asyncio.sleep(callers.LOOK)
                continue
            self._start(group, index, text, whole)
            begun += 1
            if begun % _TOGETHER == 0:
                await asyncio.sleep(0)

    async def _may_start(self) -> bool:
        """Whether another text may start now; the only one of the call may always, but not faster than its caller."""
        engine, caller = self._model.engine, self._caller
        while caller is not None and caller.debt and not self._running:
            if engine.is_drained:
                raise DrainingError
            await caller.turn(callers.LOOK)
        if engine.is_drained:
            raise DrainingError
        if not self._running:
            return True
        if caller is not None and (caller.debt or 0 < caller.limits.streams <= caller.streams):
            return False
        return engine.admission.room(self._connection) > 0 and not self._model.returns.are_expected()

    def _next(self) -> tuple[int, RunningText, responses.WholeText]:
        index = self._pending.popleft()
        generation = replace(self._generation, seed=sample_seed(self._seed, index))
        whole = responses.WholeText(generation)
        text = RunningText(generation, self._model, self._pacer, None, whole, read=self._read)
        return index, text, whole

    def _start(self, group: asyncio.TaskGroup, index: int, text: RunningText, whole: responses.WholeText) -> None:
        counts = self._caller is not None and self._running > 0  # the call counts as one already
        if self._caller is not None and counts:
            self._caller.streams += 1
        self._running += 1
        # The task may be cancelled before its first step, so it isn't what ends the text.
        group.create_task(self._run(index, text, whole)).add_done_callback(lambda _: self._end(text, counts=counts))

    async def _run(self, index: int, text: RunningText, whole: responses.WholeText) -> None:
        try:
            await text.run()
        except PushedOutError:
            if not self._done and self._running == 1:  # nothing is lost: the service refuses the call
                raise
            self._pending.append(index)
            return
        if whole.finished.finish_reason == pb.FINISH_REASON_DRAINING:
            raise DrainingError  # another server generates all of them, with the same seed if the request has one
        is_ended = whole.finished.finish_reason == pb.FINISH_REASON_END_OF_DOCUMENT
        self._done[index] = whole, text.stream.end_logprob if is_ended else None

    def _end(self, text: RunningText, *, counts: bool) -> None:
        """Frees the place of a text."""
        self._model.engine.release(text.stream)
        self._model.returns.freed()
        self._running -= 1
        if self._caller is not None and counts:
            self._caller.streams -= 1
        self._changed.set()


def _check(wanted: Wanted, generation: requests.Generation) -> None:
    """Raises ``InvalidArgumentError`` if the texts have too many characters together."""
    if not generation.max_characters:
        raise InvalidArgumentError("parameters.max_characters", "0 doesn't go with samples and best_of")
    if generation.activations is not None:
        raise InvalidArgumentError("parameters.include_activations", "doesn't go with samples and best_of")
    characters = max(wanted.count * generation.max_characters, wanted.returned * generation.most_characters)
    if characters > MOST_CHARACTERS:
        raise InvalidArgumentError(
            "best_of" if wanted.are_best else "samples",
            f"{wanted.count} texts of up to {generation.most_characters} characters each are more than "
            f"{MOST_CHARACTERS} characters; ask for fewer at a time",
        )
    if generation.top_logprobs is not None:
        requests.check_answer(
            wanted.returned * generation.most_characters, generation.top_logprobs, "parameters.top_logprobs"
        )


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Returns the first error of a group, which is the one that ended the others."""
    error = errors.exceptions[0]
    return _first_of(error) if isinstance(error, BaseExceptionGroup) else error
