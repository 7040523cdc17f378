"""The calls of the client that score text: ``score``, ``score_stream`` and ``rescore``.

Invariant: a call of which nothing has come is sent again if a server turns it away, with the same texts; a stream that
is cut later can't be, because its texts are gone, and raises.
"""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Unpack

import grpc.aio

from nextchar.v1 import generation_pb2 as pb

from . import score_conversion as conversion
from .connection import Connection, readable
from .conversion import activation_request
from .ending import Ending
from .errors import IncompleteStreamError, NextcharError
from .fork import keep_at_fork
from .options import ScoreOptions, UnknownCharacters
from .results import Score
from .retries import Retries
from .score_conversion import Scored, Texts
from .scores import CandidateScores, ScoreEvent


class Scoring(Connection):
    """The methods of ``AsyncClient`` that score text."""

    async def score(
        self,
        text: str,
        *,
        model: str = "",
        top_logprobs: int | None = None,
        details: bool | None = None,
        include_activations: tuple[int, Sequence[int]] | None = None,
        unknown_characters: UnknownCharacters | None = None,
        replacement_character: str | None = None,
        timeout: float | None = None,
    ) -> Score:
        """Returns the log-probability of each character of ``text``, each given all characters before it.

        The text starts a document. ``details`` adds each character's rank and the entropy in its place, if the model's
        alphabet is ``characters``. The other keywords mean the same as in ``GenerationOptions``.
        """
        request = conversion.score_request(
            text,
            model=model,
            top_logprobs=top_logprobs,
            details=details,
            include_activations=activation_request(include_activations),
            unknown=unknown_characters,
            replacement_character=replacement_character,
        )
        result = conversion.score(await self._answer("Score", request, timeout))
        if include_activations is not None and result.activations is None:
            raise IncompleteStreamError("the answer has no activations; the server may be of an earlier version")
        return result

    async def rescore(
        self,
        prefix: str,
        candidates: Sequence[str],
        *,
        model: str = "",
        top_logprobs: int | None = None,
        unknown_characters: UnknownCharacters | None = None,
        replacement_character: str | None = None,
        timeout: float | None = None,
    ) -> CandidateScores:
        """Returns how likely each of ``candidates`` is behind ``prefix``, which the server reads once.

        An empty prefix is the start of a document. ``top_logprobs`` adds each character's log-probability, and this
        many alternatives. The other keywords mean the same as in ``GenerationOptions``.
        """
        request = conversion.rescore_request(
            prefix,
            candidates,
            model=model,
            top_logprobs=top_logprobs,
            unknown=unknown_characters,
            replacement_character=replacement_character,
        )
        answer = await self._answer("Rescore", request, timeout)
        return conversion.candidate_scores(
            answer, candidates=len(request.candidates), with_logprobs=top_logprobs is not None
        )

    async def score_stream(self, texts: Texts, **options: Unpack[ScoreOptions]) -> AsyncGenerator[ScoreEvent, None]:
        """Scores ``texts`` of any length while they are sent, each from the start of a document.

        ``texts`` is an iterable, asynchronous or not, of texts; a text is a string, or such an iterable of its parts,
        such as an open file. They are asked for as the server reads them. Yields one ``ScoreStarted``, then for each
        text any number of ``ScoredPart`` and one ``ScoredText``; ``ScoreOptions`` has
        the keywords. Leaving early cancels the call. If it is cut, its error says how many characters had been scored.
        Raises ``InvalidArgumentError`` if there is no text.
        """
        settings, timeout = conversion.settings(options), self._seconds(options.get("timeout"))
        retries = Retries(timeout, servers=len(self._servers))
        sent = _Sent(conversion.messages(settings, texts))
        try:
            while True:
                scored = Scored(totals_only=settings.totals_only)
                try:
                    async with aclosing(self._scores(sent, scored, retries)) as events:
                        async for event in events:
                            yield event
                    return
                except grpc.aio.AioRpcError as failure:
                    if not scored.has_started and not self._is_closed and await retries.pause(failure):
                        continue
                    raise _counted(await self._error(failure, retries), scored) from failure
        finally:
            await sent.close()

    async def _scores(self, sent: _Sent, scored: Scored, retries: Retries) -> AsyncGenerator[ScoreEvent, None]:
        """The events of one try of the call, which sends all of ``sent``."""
        self._require_usable()  # it may have been closed during a pause
        call = keep_at_fork(
            self._servers.stub().ScoreStream(timeout=retries.seconds_left, metadata=self._metadata(retries))
        )
        ending = Ending(call)
        sending = asyncio.create_task(sent.to(call))
        try:
            async for message in call:
                event = scored.event(readable(message))
                sent.keeps = sent.keeps and not scored.has_started
                if event is not None:
                    yield event
        except grpc.aio.AioRpcError as failure:
            raise await ending.cause(failure) from None
        except asyncio.CancelledError:
            if sent.trouble is not None:
                raise sent.trouble from None
            raise
        else:
            scored.end(sent.texts)
        finally:
            if self._origin.is_here:
                sending.cancel()
                call.cancel()


class _Sent:
    """The messages of a stream, which more than one call may have to send.

    ``keeps`` says whether those that were sent are kept for another call; ``texts`` is their number of texts;
    ``trouble`` is the exception of the caller's own texts, which ended the call.
    """

    def __init__(self, messages: AsyncGenerator[pb.ScoreStreamRequest, None]) -> None:
        self.keeps = True
        self.texts = 0
        self.trouble: Exception | None = None
        self._messages = messages
        self._next: asyncio.Future[pb.ScoreStreamRequest | None] | None = None
        self._kept: list[pb.ScoreStreamRequest] = []

    async def to(self, call: Any) -> None:
        """Sends all messages to ``call``, from the first on."""
        for message in self._kept:
            if not await _write(call, message):
                return
        while True:
            try:
                following = await self._following()
            except Exception as trouble:
                self.trouble = trouble
                call.cancel()
                return
            if following is None:
                await _write(call, None)
                return
            self.texts += following.is_end
            if self.keeps:
                self._kept.append(following)
            else:
                self._kept.clear()
            if not await _write(call, following):
                return

    async def close(self) -> None:
        """Closes the iterable of the texts."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._messages.aclose()

    async def _following(self) -> pb.ScoreStreamRequest | None:
        """The next message, None at the end. If the call ends meanwhile, the next call gets it."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._messages, None))
        message = await asyncio.shield(self._next)
        self._next = None
        return message


async def _write(call: Any, message: pb.ScoreStreamRequest | None) -> bool:
    """Sends ``message``, or the end for None. Returns False if ``call`` has ended: its reader learns why."""
    try:
        await (call.done_writing() if message is None else call.write(message))
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True


def _counted(error: NextcharError, scored: Scored) -> NextcharError:
    """``error``, which says how many characters were scored before it."""
    if not scored.characters:
        return error
    return type(error)(
        f"{error} (after {scored.characters:,} characters and {scored.texts:,} whole texts were scored)",
        status=error.status,
        request_id=error.request_id,
    )
