"""Streams that move between lanes, through an engine over a scripted runner."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextchar_model.batch import Batch, Steps
from nextchar_model.draws import uniform
from nextchar_server.engine import admission, loads
from nextchar_server.engine.engine import Engine
from nextchar_server.engine.loads import LEAST, Loads
from nextchar_server.engine.stream import End, IdChunk, LaneError, Stream
from tests.support.restless import RestlessLoads
from tests.support.scripted_runner import (
    ONE_STEP,
    PATIENCE,
    ScriptedRunner,
    counted,
    running,
    stream_of,
    take,
)

_ENDLESS = 10**6

Text = tuple[int, int, int | None, int | None]
"""The ids that a stream samples and reads, its alternatives, and the ids after which its caller leaves."""


class WatchedRunner(ScriptedRunner):
    """Knows which lane advanced each stream last. A stream's script is its number."""

    def __init__(self, streams: int) -> None:
        super().__init__(*[lambda place: place % 1000 + 1] * streams)
        self.lane_of: dict[int, str] = {}
        self.moves = Counter[int]()
        self.failing_lane = ""

    def advance(self, batch: Batch, *arguments: Any, **options: Any) -> Steps:
        lane = threading.current_thread().name
        for number in batch.top_k.tolist():
            self.moves[number] += self.lane_of.get(number, lane) != lane
            self.lane_of[number] = lane
        if lane == self.failing_lane:
            raise ArithmeticError("no such sum")
        return super().advance(batch, *arguments, **options)

    def lanes_of(self, streams: list[Stream]) -> list[list[Stream]]:
        """Returns ``streams`` by the lane that advanced them last."""
        lanes: dict[str, list[Stream]] = {}
        for stream in streams:
            lanes.setdefault(self.lane_of[stream.settings.top_k], []).append(stream)
        return [lanes[name] for name in sorted(lanes)]

    def loads(self, streams: list[Stream]) -> list[int]:
        """Returns how many of ``streams`` each lane advanced last."""
        return sorted(len(lane) for lane in self.lanes_of(streams))


@dataclass
class Started:
    """Endless streams that run in two lanes, and are read."""

    engine: Engine
    runner: WatchedRunner
    streams: list[Stream]
    reading: list[asyncio.Task[End]]


async def until(happened: Callable[[], bool]) -> None:
    """Waits until something has happened in the lanes' threads."""
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.001)


async def read(engine: Engine, stream: Stream) -> End:
    """Takes all ids of ``stream``; returns its end."""
    while isinstance(taken := await take(engine, stream), IdChunk):
        pass
    return taken


@asynccontextmanager
async def started(count: int, **options: Any) -> AsyncIterator[Started]:
    """Starts ``count`` streams in two lanes, and waits until each has an id."""
    runner = WatchedRunner(count)
    async with running(runner, lanes=2, turn_budget=ONE_STEP) as engine:
        streams = [stream_of(_ENDLESS, script=number, **options) for number in range(count)]
        for stream in streams:
            engine.submit(stream)
        reading = [asyncio.create_task(read(engine, stream)) for stream in streams]
        await until(lambda: all(stream.sampled_count for stream in streams))
        yield Started(engine, runner, streams, reading)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for stream in streams:
            engine.release(stream)


@pytest.mark.parametrize("alternatives", [None, 3])
async def test_an_empty_lane_gets_half_of_the_rows_of_another_one(alternatives: int | None) -> None:
    async with started(16, alternatives=alternatives) as these:
        kept, ended = these.runner.lanes_of(these.streams)
        for stream in ended:
            these.engine.release(stream)
        await until(lambda: these.runner.loads(kept) == [4, 4])
        assert these.engine.admission.active == 8


async def test_a_lane_with_few_rows_is_relieved_before_it_is_empty() -> None:
    async with started(20) as these:
        kept, ended = these.runner.lanes_of(these.streams)
        for stream in ended[2:]:
            these.engine.release(stream)
        await until(lambda: these.runner.loads([*kept, *ended[:2]]) == [6, 6])


async def test_lanes_with_as_many_rows_as_each_other_keep_theirs() -> None:
    async with started(12) as these:
        first = [stream.sampled_count for stream in these.streams]
        await until(lambda: all(s.sampled_count > n + 200 for s, n in zip(these.streams, first, strict=True)))
        assert not these.runner.moves.total()


async def test_a_lane_keeps_so_few_rows_that_another_core_would_gain_little() -> None:
    async with started(2 * LEAST - 2) as these:
        kept, ended = these.runner.lanes_of(these.streams)
        for stream in ended:
            these.engine.release(stream)
        first = [stream.sampled_count for stream in kept]
        await until(lambda: all(s.sampled_count > n + 200 for s, n in zip(kept, first, strict=True)))
        assert not these.runner.moves.total()


async def test_a_lane_that_fails_ends_the_rows_that_moved_in_and_not_those_that_stayed() -> None:
    async with started(16) as these:
        kept, ended = these.runner.lanes_of(these.streams)
        for stream in ended:
            these.engine.release(stream)
        await until(lambda: these.runner.loads(kept) == [4, 4])
        moved = [stream for stream in kept if these.runner.moves[stream.settings.top_k]]
        these.runner.failing_lane = these.runner.lane_of[moved[0].settings.top_k]
        for stream in moved:
            with pytest.raises(LaneError):
                await these.reading[these.streams.index(stream)]
        these.runner.failing_lane = ""
        stayed = [stream for stream in kept if stream not in moved]
        assert not any(these.reading[these.streams.index(stream)].done() for stream in stayed)


async def test_draining_ends_rows_that_move_all_the_time() -> None:
    with patch.object(admission, "Loads", RestlessLoads):
        async with started(8) as these:
            await until(lambda: these.runner.moves.total() > 20)
            these.engine.drain()
            assert await asyncio.gather(*these.reading) == [End.DRAINED] * 8


@given(
    lanes=st.integers(2, 3),
    least=st.integers(1, 4),
    texts=st.lists(
        st.tuples(
            st.sampled_from([1, 3, 40, 300]),
            st.sampled_from([0, 1, 30, 300, 700]),
            st.sampled_from([None, 0, 2]),
            st.none() | st.integers(0, 100),
        ),
        min_size=4,
        max_size=16,
    ),
    is_restless=st.booleans(),
)
@settings(max_examples=40, deadline=None)
async def test_whatever_comes_and_leaves_each_stream_gets_the_ids_and_random_numbers_that_it_gets_alone(
    lanes: int, least: int, texts: list[Text], is_restless: bool
) -> None:
    kind = RestlessLoads if is_restless else Loads
    with patch.object(admission, "Loads", kind), patch.object(loads, "LEAST", least):
        async with running(ScriptedRunner(), lanes=lanes, max_batch=8, turn_budget=ONE_STEP, min_steps=3) as engine:
            await check_all(engine, texts)


async def check_all(engine: Engine, texts: list[Text]) -> None:
    async def check(seed: int, count: int, reads: int, alternatives: int | None, patience: int | None) -> None:
        stream = stream_of(count, read=[1] * reads, seed=seed, alternatives=alternatives)
        engine.submit(stream)
        ids: list[int] = []
        logprobs: list[float] = []
        while isinstance(taken := await take(engine, stream), IdChunk):
            ids += taken.ids.tolist()
            if taken.logprobs is not None:
                logprobs += taken.logprobs.tolist()
            if patience is not None and len(ids) > patience:
                break
        else:
            assert (taken, len(ids)) == (End.COUNT, count)
        engine.release(stream)
        assert ids == counted(len(ids))
        if alternatives is not None:
            assert logprobs == uniform(seed, 0, len(ids)).tolist()

    await asyncio.gather(*(check(seed, *text) for seed, text in enumerate(texts)))
    await until(lambda: engine.admission.active == 0)
    assert (engine.admission.waiting, engine.admission.paused, engine.admission.held) == (0, 0, 0)
