"""The score of each line of a file, in order, and whether it is above the threshold of normal lines.

Lines go to the server in blocks, several at a time, so that its batches are full; a block holds the lines that have
come, so that those of a pipe aren't held up. Invariant: only the blocks in flight are held; a line that is longer than
a prompt may be, and whatever a block can't hold, goes by a stream.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..async_client import AsyncClient
from ..errors import InvalidArgumentError
from ..feeding import fed
from ..results import CharacterLogprob
from ..scores import ScoredPart, ScoredText
from .dynamic import adapted, bits
from .reading import parts_of

if TYPE_CHECKING:
    from .dynamic import Adaptive

_BLOCK_LINES = 1000
_BLOCK_CHARACTERS = 2**13
_AT_ONCE = 4  # blocks in flight: while one is on its way, others are in the batch
_CANDIDATE = re.compile(r"candidates\[(\d+)\]: (.*)", re.DOTALL)
_LONGEST_NFC = 3  # characters that normalization makes of one


@dataclass(frozen=True)
class ScoredLine:
    """How likely a line is, as a document of its own."""

    number: int
    text: str
    characters: int
    bits_per_character: float
    total_logprob: float


@dataclass(frozen=True)
class _Raw:
    """The scores of a line by the server."""

    text: str
    characters: int = 0
    total: float = 0.0
    places: tuple[CharacterLogprob, ...] = ()  # for a dynamic evaluation


@dataclass(frozen=True)
class LineScores:
    """Scores lines with one model; ``options`` are those of ``rescore``. ``mixture`` makes it a dynamic evaluation."""

    client: AsyncClient
    options: dict[str, Any]
    most_characters: int
    """Limit of the length of a prompt, in characters."""
    mixture: Adaptive | None = None

    async def of(self, file: str, *, name: str, verbatim: bool) -> AsyncGenerator[ScoredLine, None]:
        """Yields the score of each line of ``file``; ``name`` is its option. Raises as the client and ``parts_of``."""
        blocks = fed(blocks_of(parts_of(file, name=name, verbatim=verbatim), self._most))
        following: asyncio.Future[list[str] | None] | None = asyncio.ensure_future(anext(blocks, None))
        running: deque[asyncio.Task[list[_Raw]]] = deque()
        number = sent = 0
        try:
            while following is not None or running:
                awaited: set[asyncio.Future[Any]] = set(islice(running, 1))
                if following is not None and len(running) < _AT_ONCE:
                    awaited.add(following)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if running and running[0].done():
                    for raw in running.popleft().result():
                        number += 1
                        yield self._line(number, raw)
                if following is not None and following.done():
                    block = following.result()
                    following = None
                    if block is not None:
                        running.append(asyncio.create_task(self._scored(block, f"{name}: line", sent)))
                        sent += len(block)
                        following = asyncio.ensure_future(anext(blocks, None))
        finally:
            left = [*running, *([following] if following else ())]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await blocks.aclose()

    @property
    def _most(self) -> int:
        return min(_BLOCK_CHARACTERS, self.most_characters // _LONGEST_NFC)

    async def _scored(self, block: list[str], name: str, before: int) -> list[_Raw]:
        texts = [line for line in block if line]
        skips = self.options.get("unknown_characters") == "skip"  # which can leave nothing of a line
        whole = not skips and all(len(text) <= self._most for text in texts)
        try:
            scores = iter(await (self._together(texts) if whole and texts else self._in_turn(texts)))
        except InvalidArgumentError as error:
            if (match := _CANDIDATE.match(str(error))) is None:
                raise
            number = before + [n for n, line in enumerate(block, 1) if line][int(match[1])]
            message = f"{name} {number}: {match[2]}"
            raise InvalidArgumentError(message, status=error.status, request_id=error.request_id) from error
        return [next(scores) if line else _Raw(line) for line in block]

    async def _together(self, texts: list[str]) -> list[_Raw]:
        top_logprobs = None if self.mixture is None else 0
        answer = await self.client.rescore("", texts, top_logprobs=top_logprobs, **self.options)
        return [
            _Raw(text, len(score.text), score.total_logprob, score.characters)
            for text, score in zip(texts, answer.scores, strict=True)
        ]

    async def _in_turn(self, texts: list[str]) -> list[_Raw]:
        found: list[_Raw] = []
        places: list[CharacterLogprob] = []
        totals_only = self.mixture is None
        async with aclosing(self.client.score_stream(texts, totals_only=totals_only, **self.options)) as events:
            async for event in events:
                match event:
                    case ScoredPart():
                        places.extend(event.characters)
                    case ScoredText():
                        found.append(_Raw(texts[event.index], event.characters, event.total_logprob, tuple(places)))
                        places.clear()
        return found

    def _line(self, number: int, raw: _Raw) -> ScoredLine:
        total = raw.total
        if self.mixture is not None:
            total = math.fsum(place.logprob for place in adapted(raw.places, self.mixture))
            self.mixture.begin()
        return ScoredLine(number, raw.text, raw.characters, bits(total, raw.characters), total)


def blocks_of(parts: Iterable[str], most_characters: int) -> Iterator[list[str]]:
    """Cuts a text into its lines, without their newlines, and yields those that have come in blocks.

    A block has at most ``_BLOCK_LINES`` lines of at most ``most_characters`` together, or one longer line.
    """
    begun: list[str] = []  # of the line that has no newline yet
    for part in parts:
        *lines, last = part.split("\n")
        if lines:
            lines[0] = "".join((*begun, lines[0]))
            begun.clear()
        begun.append(last)
        yield from _blocks(lines, most_characters)
    if line := "".join(begun):
        yield [line]


def _blocks(lines: list[str], most_characters: int) -> Iterator[list[str]]:
    block: list[str] = []
    characters = 0
    for line in lines:
        if block and (len(block) == _BLOCK_LINES or characters + len(line) > most_characters):
            yield block
            block, characters = [], 0
        block.append(line)
        characters += len(line)
    if block:
        yield block


def threshold(normal: Sequence[float], quantile: float) -> float:
    """The bits per character above which a line is unusual, from those of ``normal`` lines; at least one.

    It is the ``ceil((n + 1) quantile)``-th smallest of n, or the largest if there are fewer: then of further lines of
    the same kind, at most ``1 - quantile`` are above it on average (split conformal prediction: Vovk, Gammerman and
    Shafer, "Algorithmic learning in a random world", 2005; Angelopoulos and Bates, "A gentle introduction to conformal
    prediction", 2023, section 1). The largest has that property only from ``fewest`` lines on.
    """
    return sorted(normal)[min(len(normal), math.ceil((len(normal) + 1) * quantile)) - 1]


def fewest(quantile: float) -> int:
    """The fewest normal lines for a threshold with this ``quantile``."""
    return math.ceil(quantile / (1 - quantile) - 1e-9)
