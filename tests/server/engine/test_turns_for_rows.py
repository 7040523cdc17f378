"""Rows are shared among callers even if all of them are taken: streams leave theirs for a while, and return."""

import asyncio
from unittest.mock import patch

import pytest

from nextchar_server.engine import stream as stream_module
from nextchar_server.engine.engine import Engine
from nextchar_server.engine.stream import OUTBOX_IDS, IdChunk, Stream
from tests.support.scripted_runner import MANY_STEPS, ScriptedRunner, counted, running, stream_of, take

COUNT = 600


async def read(engine: Engine, stream: Stream) -> list[int]:
    """Returns all ids of ``stream``, and notes its end."""
    ids: list[int] = []
    while isinstance(taken := await take(engine, stream), IdChunk):
        ids += taken.ids.tolist()
    engine.release(stream)
    return ids


@pytest.mark.parametrize("queued", [0, 6])
async def test_a_newcomer_gets_a_row_while_those_of_another_caller_hold_all(queued: int) -> None:
    async with running(ScriptedRunner(), max_batch=4) as engine:
        hog = [stream_of(COUNT, caller="hog") for _ in range(4 + queued)]
        for stream in hog:
            engine.submit(stream)
        reading = [asyncio.create_task(read(engine, stream)) for stream in hog]
        while engine.admission.active < 4:
            await asyncio.sleep(0)
        newcomer = stream_of(50, caller="newcomer")
        engine.submit(newcomer)
        assert await read(engine, newcomer) == counted(50)
        assert not any(task.done() for task in reading)  # nobody had to end for that
        assert await asyncio.gather(*reading) == [counted(COUNT)] * len(hog)


async def test_streams_that_left_their_rows_take_turns_with_those_that_kept_theirs() -> None:
    async with running(ScriptedRunner(), max_batch=4) as engine:
        hog = [stream_of(10**6, caller="hog") for _ in range(4)]
        for stream in hog:
            engine.submit(stream)
        while engine.admission.active < 4:
            await asyncio.sleep(0)
        others = [stream_of(10**6, caller="other") for _ in range(2)]
        for stream in others:
            engine.submit(stream)
        before = [stream.sampled_count for stream in hog]
        reading = [asyncio.create_task(read(engine, stream)) for stream in [*hog, *others]]
        async with asyncio.timeout(60):
            while not all(stream.sampled_count > first + 300 for stream, first in zip(hog, before, strict=True)):
                await asyncio.sleep(0.001)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for stream in [*hog, *others]:
            engine.release(stream)


async def test_one_caller_alone_keeps_its_rows_to_the_end() -> None:
    runner = ScriptedRunner()
    async with running(runner, max_batch=2, turn_budget=MANY_STEPS) as engine:
        streams = [stream_of(300, caller="alone") for _ in range(4)]
        for stream in streams:
            engine.submit(stream)
        reading = [asyncio.create_task(read(engine, stream)) for stream in streams]
        first = asyncio.gather(*reading[:2])
        await first
        assert [stream.sampled_count for stream in streams[:2]] == [300, 300]
        assert await asyncio.gather(*reading[2:]) == [counted(300)] * 2


async def test_a_row_leaves_its_batch_when_its_reader_is_late_and_returns_when_it_reads() -> None:
    with patch.object(stream_module, "LATE", 0.0):
        async with running(ScriptedRunner(), max_batch=4) as engine:
            stream = stream_of(OUTBOX_IDS // 2)
            engine.submit(stream)
            taken = await take(engine, stream)
            assert isinstance(taken, IdChunk)
            is_read = asyncio.Event()
            message = asyncio.create_task(engine.deliver(stream, is_read.wait()))
            async with asyncio.timeout(60):
                while not engine.admission.paused:
                    await asyncio.sleep(0.001)
            assert stream.sampled_count < stream.count
            is_read.set()
            await message
            assert taken.ids.tolist() + await read(engine, stream) == counted(stream.count)
