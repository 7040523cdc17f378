"""Where the texts of a plan come from: servers, or a model file in this process.

Between the plan and the filters. Invariant: the texts come in order, a bounded number of them is made ahead, and those
of one batch are of one model file and numeric class.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, Protocol, cast

from ..async_client import AsyncClient
from ..errors import DivergedError, InvalidArgumentError
from ..options import GenerationOptions
from ..results import Started
from .plan import Block, Piece

_AHEAD = 2  # times the texts that are asked for, so that a slow call doesn't keep the others waiting


class Made(NamedTuple):
    """A text that was made."""

    number: int
    """Its number in the batch."""
    text: str
    """The text."""
    finish_reason: str
    """A value of ``FinishReason``."""


class Source(Protocol):
    """Makes texts."""

    digest: str
    """SHA-256 of the model file, in hexadecimal."""
    numeric_class: str
    """Machines of one numeric class return the same bytes."""

    def texts(self, blocks: Iterable[Block]) -> AsyncGenerator[list[Made], None]:
        """Yields the texts of ``blocks`` in order, some at a time."""

    async def close(self) -> None:
        """Ends all work."""


class Servers:
    """``Source`` of one server, or of several that have the same model."""

    def __init__(self, client: AsyncClient, model: str, digest: str, numeric_class: str, concurrency: int) -> None:
        self._client, self._concurrency = client, concurrency
        # Asked for by its digest, so that a model file that replaces it, or shares its name, makes none of the texts.
        self._model = f"{model}@{digest}"
        self.digest, self.numeric_class = digest, numeric_class

    async def texts(self, blocks: Iterable[Block]) -> AsyncGenerator[list[Made], None]:
        """As ``Source`` says."""
        coming = iter(blocks)
        if (block := next(coming, None)) is None:
            return
        coming = chain([block], coming)
        free = asyncio.Semaphore(max(1, self._concurrency // max(len(piece.numbers) for piece in block)))
        waiting: deque[tuple[int, list[asyncio.Task[list[Made]]]]] = deque()
        held = 0
        try:
            while True:
                while held < _AHEAD * self._concurrency and (block := next(coming, None)) is not None:
                    size = sum(len(piece.numbers) for piece in block)
                    waiting.append((size, [asyncio.create_task(self._made(piece, free)) for piece in block]))
                    held += size
                if not waiting:
                    return
                size, tasks = waiting[0]
                made = [await task for task in tasks]
                waiting.popleft()
                held -= size
                yield made[0] if len(made) == 1 else sorted(chain.from_iterable(made), key=itemgetter(0))
        finally:
            running = [task for _, tasks in waiting for task in tasks]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def close(self) -> None:
        """As ``Source`` says."""
        await self._client.close()

    async def _made(self, piece: Piece, free: asyncio.Semaphore) -> list[Made]:
        """The texts of ``piece``, once there are fewer calls than ``free`` allows."""
        async with free:
            options = cast("GenerationOptions", {**piece.options, "seed": piece.seed, "model": self._model})
            count = len(piece.numbers)
            try:
                samples = await self._client.samples(piece.prompt, count=count, first=piece.first_sample, **options)
            except InvalidArgumentError as error:
                if piece.line is None:
                    raise
                message = f"line {piece.line}: {error}"
                raise InvalidArgumentError(message, status=error.status, request_id=error.request_id) from None
        self._check(samples.started)
        return [
            Made(number, sample.text, sample.finished.finish_reason)
            for number, sample in zip(piece.numbers, samples.texts, strict=True)
        ]

    def _check(self, started: Started) -> None:
        """Raises ``DivergedError`` if the server that ``started`` texts has another model or numeric class."""
        for name, its, expected in (
            ("model", started.model_digest, self.digest),
            ("numeric class", started.numeric_class, self.numeric_class),
        ):
            if its != expected:
                raise DivergedError(
                    f"a server has the {name} {its} in place of {expected}, with which the batch began: ask only "
                    "servers of one model file and numeric class",
                    request_id=started.request_id,
                )


async def open_servers(client: AsyncClient, model: str, concurrency: int) -> Servers:
    """The source that makes texts with ``model`` of the servers of ``client``; empty means their default one."""
    described = await client.model(model)
    return Servers(client, described.name, described.digest, described.numeric_class, concurrency)
