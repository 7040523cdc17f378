"""A runner with scripted ids, so that a test of the engine needs no model."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import Batch, SamplingSettings, Steps
from nextchar_server.engine import lane
from nextchar_server.engine.engine import Engine
from nextchar_server.engine.stream import End, IdChunk, Stream

PATIENCE = 60
"""Seconds after which a test that waits for something has failed."""


ONE_STEP = 1e-12
"""A turn budget, in seconds, so small that every turn has ``min_steps`` steps."""

MANY_STEPS = 1e12
"""A turn budget that no turn exhausts."""


BUDGETS = pytest.mark.parametrize("turn_budget", [ONE_STEP, MANY_STEPS], ids=["one step", "many steps"])
"""Runs a test with both turn budgets."""


@dataclass(frozen=True)
class Turn:
    """One call of ``advance``."""

    lane: str
    rows: int
    steps: int
    alternatives: int


def counting(place: int) -> int:
    """The default script: ids 1, 2, 3, ..., so that a lost or repeated one shows."""
    return place + 1


def ending_at(place: int) -> Callable[[int], int]:
    """Returns a script in which the boundary comes at ``place``."""
    return lambda n: BOUNDARY if n == place else n + 1


def counted(count: int) -> list[int]:
    """Returns the first ``count`` ids of the default script."""
    return list(range(1, count + 1))


class ScriptedRunner:
    """Replaces ``Runner``. The n-th id that a row samples is ``scripts[top_k](n)``.

    ``top_k`` of a row's settings selects its script; its ``cell`` counts the ids that it sampled, so the count leaves
    and returns with the row. The log-probability of a sampled id is its random number, that of a read id is minus the
    id; alternative ``n`` of every id is ``(100 + n, -n)``.

    With ``gated``, each turn waits for ``let`` before it returns.
    """

    provider = "cpu"

    def __init__(self, *scripts: Callable[[int], int], gated: bool = False) -> None:
        self.turns: list[Turn] = []
        self.fails: Exception | None = None
        """The exception that the next turn raises."""
        self._scripts = scripts or (counting,)
        self._gated = gated
        self._begun = threading.Semaphore(0)
        self._permits = threading.Semaphore(0)

    async def begun(self, turns: int = 1) -> None:
        """Waits until ``turns`` more turns have begun."""
        for _ in range(turns):
            assert await asyncio.to_thread(self._begun.acquire, timeout=PATIENCE), "no turn began"

    def let(self, turns: int = 1) -> None:
        """Lets ``turns`` turns end."""
        self._permits.release(turns)

    async def step(self, turns: int = 1) -> None:
        """Lets the current turn end and waits until the next one has begun, ``turns`` times."""
        for _ in range(turns):
            self.let()
            await self.begun()

    def start(self, settings: Sequence[SamplingSettings]) -> Batch:
        B = len(settings)
        return Batch(
            last_id=np.full(B, BOUNDARY, np.int64),
            hidden=np.zeros((1, B, 1), np.float32),
            cell=np.zeros((1, B, 1), np.float32),
            automaton=np.array([one.automaton for one in settings] + [None], np.object_)[:-1],
            automaton_state=np.zeros(B, np.int32),
            slack=np.array([one.slack for one in settings], np.int32),
            ends_at=np.array([one.ends_at for one in settings], np.int32),
            temperature=np.array([one.temperature for one in settings], np.float32),
            top_k=np.array([one.top_k for one in settings], np.int64),
            top_p=np.array([one.top_p for one in settings], np.float32),
            min_p=np.array([one.min_p for one in settings], np.float32),
            bias=np.zeros((B, 1), np.float32),
        )

    def rest(self) -> None:
        pass

    def advance(
        self,
        batch: Batch,
        forced: NDArray[np.int64],
        draws: NDArray[np.float32],
        *,
        read: NDArray[np.int64],
        alternatives: int = 0,
    ) -> Steps:
        K, B = forced.shape
        assert K >= 1
        assert read.shape[1] == B
        assert (read >= 0).all()
        assert draws.shape == (K, B)
        assert len(batch) == B
        self.turns.append(Turn(threading.current_thread().name, B, len(read) + K, alternatives))
        self._begun.release()
        if self._gated:
            assert self._permits.acquire(timeout=PATIENCE), "a turn was never let go"
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        ids = forced.copy()
        logprob = np.where(forced >= 0, -forced, draws).astype(np.float32)
        for row in range(B):
            for k in range(K):
                if forced[k, row] < 0:
                    ids[k, row] = self._scripts[batch.top_k[row]](int(batch.cell[0, row, 0]))
                    batch.cell[0, row, 0] += 1
        batch.last_id = ids[-1]
        places = np.arange(alternatives)
        top_ids = np.broadcast_to(100 + places, (K, B, alternatives))
        return Steps(ids, logprob, top_ids, np.broadcast_to(-places.astype(np.float32), top_ids.shape))


def chunk_of(
    ids: Sequence[int],
    logprobs: Sequence[float] | None = None,
    alternatives: Sequence[Sequence[tuple[int, float]]] | None = None,
) -> IdChunk:
    """Returns a chunk of ``ids``, with log-probabilities and an equal number of alternatives each if they are given."""
    if logprobs is None:
        return IdChunk(np.array(ids, np.int32))
    each = len(alternatives[0]) if alternatives else 0
    pairs = np.array(alternatives or [], np.float32).reshape(len(ids), each, 2)
    return IdChunk(
        np.array(ids, np.int32), np.array(logprobs, np.float32), pairs[..., 0].astype(np.int32), pairs[..., 1]
    )


def content(chunk: IdChunk | End) -> Any:
    """Returns the columns of ``chunk`` as plain lists, to compare; an end is returned as it is."""
    if isinstance(chunk, End):
        return chunk
    columns = (chunk.ids, chunk.logprobs, chunk.top_ids, chunk.top_logprobs)
    return tuple(None if column is None else column.tolist() for column in columns)


def playing(script: int) -> SamplingSettings:
    """Returns the settings of a row that plays ``script``."""
    return SamplingSettings(top_k=script)


def stream_of(count: int, *, read: Sequence[int] = (), script: int = 0, **options: object) -> Stream:
    """Returns a stream that reads ``read`` and then samples ``count`` ids."""
    return Stream(read=np.array(read, np.int64), count=count, settings=playing(script), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    runner: ScriptedRunner,
    *,
    lanes: int = 1,
    max_batch: int = 64,
    queue_size: int = 64,
    turn_budget: float = ONE_STEP,
    min_steps: int = 1,
) -> AsyncIterator[Engine]:
    """Runs an engine over ``runner`` whose turns have at least ``min_steps`` steps."""
    engine = Engine(
        runner,  # type: ignore[arg-type]
        lanes=lanes,
        max_batch=max_batch,
        queue_size=queue_size,
        turn_budget=turn_budget,
    )
    try:
        with patch.object(lane, "MIN_STEPS", min_steps):
            yield engine
    finally:
        runner.let(2 * lanes)  # the turns that have begun, and those about to begin
        engine.stop()


async def take(engine: Engine, stream: Stream) -> IdChunk | End:
    """Returns the next ids of ``stream``, or its end."""
    async with asyncio.timeout(PATIENCE):
        await stream.ready()
        return engine.take(stream)


async def whole(engine: Engine, stream: Stream) -> tuple[IdChunk, End]:
    """Returns all ids of ``stream``, and its end."""
    chunks = [chunk_of([])] if stream.alternatives is None else []
    while isinstance(taken := await take(engine, stream), IdChunk):
        chunks.append(taken)
    engine.release(stream)
    return IdChunk.join(chunks), taken
