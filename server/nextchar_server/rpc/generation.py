"""A text that is being generated: from a request to its events.

The service makes one per call. The engine's ids come in, pass through the decoder and the search for stop sequences,
and go out as ``Started``, any number of text chunks, and ``Finished``.

Invariant: the work between two waits is
bounded, and paced if it is heavy.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Ids
from nextchar_model.decoder import is_one_to_one

from ..access import callers
from ..catalog import ServedModel
from ..engine.admission import StalledError
from ..engine.snapshot import Snapshot, Trail
from ..engine.stream import End, IdChunk
from ..pacing import Pacer
from ..text.text import ReadText, TextBuilder, TextChunk
from . import facts, requests, responses
from .activations import Tracer
from .errors import StalledReaderError
from .interceptor import request_id
from .streams import ReadPrompt, make_stream
from .tokens import Standing, Tokens, most_tail

_STOP_CHARACTERS = 512
"""Characters of all stop sequences together from which the search for them is heavy: up to 0.1 µs each per message."""

_LIGHT_INTERVAL = 64
"""Characters between two resume tokens below which they are heavy: each cuts the text into one more message."""

_MOST_READ_AGAIN = 1024
"""Most ids that are read again to know the state that a token needs."""

_NO_IDS: Ids = np.empty(0, np.int64)


class RunningText:
    """One text, its stream of ids, and the times at which its characters came."""

    def __init__(
        self,
        request: requests.Generation,
        model: ServedModel,
        pacer: Pacer,
        tokens: Tokens | None,
        out: responses.StreamedText | responses.WholeText,
        *,
        read: ReadPrompt | None = None,
    ) -> None:
        """Without ``tokens``, the text has no resume token.

        If another stream has ``read`` the prompt, this one starts behind it.
        """
        self._last: float | None = None  # when the latest characters came
        self._model = model
        self._metrics = model.metrics
        self._pacer = pacer
        self._tokens = tokens
        self._out = out
        self._request = request
        self._is_composed = not is_one_to_one(model.alphabet)
        start = request.start
        self._position = 0 if start is None else start.position
        self._ahead = 0 if start is None else start.ahead  # ids that the stream reads as if it sampled them
        self._read = read
        self.stream = make_stream(request, model, keeps_snapshots=tokens is not None)
        """The stream of its ids. The caller submits it before ``run``, and releases it afterwards."""
        if read is not None:
            self.stream.start_behind(read.end)
        self._tracer = None if request.activations is None else Tracer(request.activations, model, self.stream)
        waiting = None if self._tracer is None else self._tracer.waiting
        self._builder = TextBuilder(
            model.alphabet,
            self._request.max_characters,
            self._request.stop_sequences,
            self._request.include_stop_sequence,
            0 if start is None else start.skip,
            waiting,
        )
        self._trail = Trail(model.engine.document_start if start is None else start.snapshot, self.stream.read)
        self._known = 0  # ids that came, read or not, from the place on at which the text starts
        self._rest: IdChunk | None = None  # taken, and not yet turned into text
        self._unmarked = 0  # generated characters since the last token
        self._echo = ReadText(model.alphabet, self._request.prompt, waiting) if self._request.echo else None
        self._observed = 0  # generated characters whose time was observed
        self._caller = callers.current.get()
        self._facts = facts.current.get()
        self.is_heavy = (
            self._request.top_logprobs is not None
            or self._tracer is not None
            or sum(map(len, self._request.stop_sequences)) > _STOP_CHARACTERS
            or 0 < (request.resume_interval or 0) < _LIGHT_INTERVAL
        )
        """Whether the work for its messages has to be paced."""

    async def run(self) -> None:
        """Sends all events of the text. Raises ``StalledReaderError`` with a token if they aren't read in time."""
        try:
            await self._run()
        except StalledError as error:
            token = await self._token() if self._out.is_sent else b""
            raise StalledReaderError(str(error), token, self._out.offset) from None

    async def _run(self) -> None:
        if self._caller is not None and self._read is None:
            self._caller.charge(len(self._request.prompt.text))
        if self._read is None:
            self._facts.read(len(self._request.prompt.text))
        # Sent with the first characters: until then, a call that loses its place has no headers and is tried again.
        self._out.start(responses.started(request_id(), self._model, self._request.seed))
        for chunk in self._read.chunks if self._read else ():
            async with self._pacer.piece():
                self._feed(chunk)
        end: End | None = None
        while end is None and not self._is_complete:
            if self._caller is not None and self._last is not None:
                await self._keep_to_rate(self._caller)
            if self._rest is None:
                await self.stream.ready()
                if self._tracer is not None:
                    self._rest = await self._tracer.take()
            if self.is_heavy:
                async with self._pacer.piece():  # until its turn, more ids gather
                    end = self._take()
            else:
                end = self._take()
            if end is None and self._is_token_due():
                self._unmarked = 0
                self._out.mark(await self._token())
            await self._model.engine.deliver(self.stream, self._out.flush())
        await self._finish(end or End.COUNT)
        await self._model.engine.deliver(self.stream, self._out.flush())

    @property
    def _is_complete(self) -> bool:
        """Whether nothing is left to read or to generate. Of 0 characters, only the prompt is."""
        return self._builder.is_complete and not (self._echo is not None and self._echo.left)

    async def _keep_to_rate(self, caller: callers.Caller) -> None:
        """Waits until the characters of ``caller`` are within its rate, or the stream has to end now.

        Meanwhile the outbox fills up, and the row leaves its batch, as with any reader that is slow.
        """
        if (portion := caller.portion) is None:
            return
        self.stream.pace(portion, is_slowed=caller.debt > 0)
        is_in_turn = not self.stream.is_slowed
        while not is_in_turn and not self.stream.is_broken_off:
            is_in_turn = await caller.turn(callers.LOOK)

    def _take(self) -> End | None:
        """Turns the next ids of the stream into text. Returns the end if nothing else is left."""
        if self._rest is None:
            taken = self._model.engine.take(self.stream)
            if isinstance(taken, End):
                if taken is not End.DRAINED:  # then another server continues, before the text that was held back
                    self._add(self._builder.end())
                return taken
            self._rest = taken
        part, rest = self._rest, None
        if (interval := self._request.resume_interval) and len(part) > (left := max(1, interval - self._unmarked)):
            part, rest = part[:left], part[left:]
        self._rest = rest
        self._feed(part)
        return None

    def _feed(self, chunk: IdChunk) -> None:
        if self._echo is not None and (left := self._echo.left):
            self._out.add(self._echo.feed(chunk[:left]))
            chunk = chunk[left:]
        if len(chunk):
            # The trail has those that the stream reads.
            self._trail.add(chunk.ids[self._ahead - self._known :] if self._known < self._ahead else chunk.ids)
            self._known += len(chunk)
            self._add(self._builder.feed(chunk))
            if self.stream.snapshots:
                self._trail.move(self.stream.snapshots, self._place)

    def _add(self, generated: TextChunk) -> None:
        new = self._builder.generated - self._observed
        if new:
            self._observe(new)
            self._unmarked += new
            self._observed += new
        self._out.add(generated)

    @property
    def _place(self) -> int:
        """Number of ids, read and sampled, up to the end of the text that was sent."""
        return len(self.stream.read) - self._ahead + self._builder.place[0]

    def _is_token_due(self) -> bool:
        """Whether the text that was added last has a resume token."""
        interval = self._request.resume_interval
        if interval is None or self._builder.stopped_by:  # a token behind a stop sequence belongs to Finished only
            return False
        return self._unmarked >= interval and self._out.ends_with_text

    async def _token(self, end: End | None = None) -> bytes:
        """Returns a token with which another request continues after the text so far; empty if it has none.

        After the ``end`` of a document it continues with the next one.
        """
        if self._tokens is None or (self._echo is not None and self._echo.left):  # the rest of the prompt would be lost
            return b""
        sampled, skip = self._builder.place
        snapshot, ids, ahead = self._model.engine.document_start, _NO_IDS, 0
        if end is End.BOUNDARY:
            sampled, skip = self._ahead + self.stream.sampled_count + 1, 0
        else:
            self._trail.move(self.stream.snapshots, self._place)
            if self._is_composed and not skip:  # the next id, which showed that the last character was complete
                ahead = min(1, max(self._known, self._ahead) - sampled)
            snapshot, ids = self._trail.until(self._place + ahead)
            state = self._automaton_state(snapshot, ids[: len(ids) - ahead])
            if self._request.constraint is None and sampled + ahead:  # only the first sampled id is to obey it
                state = 0
            if len(ids) > most_tail(self._model):
                if len(ids) > _MOST_READ_AGAIN or not self.stream.sampled_count:  # as costly as the request itself
                    return b""
                snapshot, ids = (
                    await self._model.engine.state_after(snapshot, ids[: len(ids) - ahead]),
                    ids[len(ids) - ahead :],
                )
            if state != snapshot.automaton_state:
                snapshot = replace(snapshot, automaton_state=state)
        fingerprint = 0 if self._request.constraint is None else self._request.constraint.fingerprint
        standing = Standing(snapshot, ids, ahead, self._request.seed, self._position + sampled, skip, fingerprint)
        return self._tokens.make(standing, self._model)

    def _automaton_state(self, snapshot: Snapshot, ids: Ids) -> int:
        """Returns the state of the automaton ``ids`` after ``snapshot``. Ids that are only read don't change it."""
        constraint, start = self._request.constraint, self._request.start
        if constraint is None:
            return snapshot.automaton_state
        read = len(self.stream.read)
        if snapshot.consumed >= max(read, 1):
            return constraint.after(snapshot.automaton_state, ids.tolist())
        state = 0 if start is None or start.fingerprint != constraint.fingerprint else start.snapshot.automaton_state
        return constraint.after(state, ids[max(0, read - self._ahead - snapshot.consumed) :].tolist())

    def _reason(self, end: End) -> pb.FinishReason:
        """Returns why the text ended."""
        constraint = self._request.constraint
        if self._builder.stopped_by:
            return pb.FINISH_REASON_STOP_SEQUENCE
        if constraint is not None and constraint.fingerprint and end is not End.DRAINED:
            if constraint.is_complete(self._automaton_state(*self._trail.until_now())):
                return pb.FINISH_REASON_REGEX_COMPLETE
            if self._builder.is_complete:
                return pb.FINISH_REASON_MAX_CHARACTERS
        return responses.FINISH_REASONS[end]

    async def _finish(self, end: End) -> None:
        stopped_by = self._builder.stopped_by
        reason = self._reason(end)
        token = await self._token(None if self._builder.is_complete else end)
        read = self._request.prompt.characters_in(self.stream.read_count)
        if self._read is None:
            self._metrics.read(read)
        self._metrics.finish(name := pb.FinishReason.Name(reason), self._builder.sent)
        self._facts.finish(name)
        self._out.finish(responses.finished(reason, stopped_by, read, self._builder.sent, token))

    def _observe(self, characters: int) -> None:
        """Observes that ``characters`` more characters, at least one, came just now."""
        metrics = self._metrics
        now = time.monotonic()
        if self._last is None:
            assert self.stream.admitted_at is not None
            arrived, exemplar = self._facts.arrived, self._facts.exemplar
            metrics.begin(self.stream.admitted_at - arrived, now - arrived, exemplar)
        else:
            metrics.inter_character_seconds.observe((now - self._last) / characters)
        self._last = now
        metrics.generated_characters.inc(characters)
        self._facts.generate(characters, now)
        if self._caller is not None:
            self._caller.charge(characters)
