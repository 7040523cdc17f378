"""The engine over a scripted runner: errors, draining, and all kinds of streams together."""

import asyncio
import random

import pytest

from nextchar_server.engine.stream import OUTBOX_IDS, End, IdChunk, LaneError, Stream
from tests.support.scripted_runner import (
    MANY_STEPS,
    ScriptedRunner,
    chunk_of,
    content,
    counted,
    ending_at,
    running,
    stream_of,
    take,
    whole,
)

# Errors, and the end.


async def test_an_error_in_a_turn_ends_its_streams_and_the_lane_continues() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner) as engine:
        engine.submit(first := stream_of(100))
        await runner.begun()
        engine.submit(second := stream_of(100))
        await runner.step(2)
        runner.fails = ArithmeticError("no such sum")
        runner.let()
        assert content(await take(engine, first)) == content(chunk_of([1, 2]))
        for stream in (first, second):
            with pytest.raises(LaneError, match="ArithmeticError: no such sum"):
                await take(engine, stream)
            engine.release(stream)
        engine.submit(third := stream_of(1))
        await runner.begun()
        runner.let()
        chunk, end = await whole(engine, third)
    assert (chunk.ids.tolist(), end) == ([1], End.COUNT)
    assert runner.turns[-1].rows == 1


async def test_an_error_in_one_lane_leaves_the_streams_of_the_others_alone() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, lanes=2) as engine:
        streams = []
        for _ in range(2):
            engine.submit(stream := stream_of(3))
            streams.append(stream)
            await runner.begun()
        runner.fails = ArithmeticError("no such sum")
        runner.let(20)  # one of both turns fails
        ends: list[str] = []
        for stream in streams:
            try:
                ends.append(str((await whole(engine, stream))[1]))
            except LaneError as error:
                ends.append(str(error))
    assert sorted(ends) == ["ArithmeticError: no such sum", "End.COUNT"]


async def test_draining_ends_running_and_waiting_streams() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=1) as engine:
        streams = [stream_of(1000) for _ in range(3)]
        for stream in streams:
            engine.submit(stream)
        await runner.begun()
        await runner.step(4)
        engine.drain()
        given = [await whole(engine, stream) for stream in streams]
    assert [end for _, end in given] == [End.DRAINED] * 3
    assert given[0][0].ids.tolist() == counted(4)


async def test_draining_ends_a_stream_of_a_slow_reader_after_the_ids_it_has() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(50_000))
        engine.submit(fast := stream_of(50_000))
        await whole(engine, fast)
        engine.drain()
        chunk, end = await whole(engine, slow)
    assert chunk.ids.tolist() == counted(len(chunk))
    assert len(chunk) >= OUTBOX_IDS
    assert end is End.DRAINED


async def test_a_drained_stream_costs_no_more_turns_however_slow_its_reader_is() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner) as engine:
        engine.submit(drained := stream_of(1000))
        await runner.begun()
        engine.drain()
        engine.submit(other := stream_of(10))
        await runner.step(3)
        assert [turn.rows for turn in runner.turns] == [1, 1, 1, 1]
        assert drained.sampled_count <= 1
        assert not other.is_over


async def test_a_stream_that_ended_is_not_ended_again_by_draining() -> None:
    async with running(ScriptedRunner()) as engine:
        engine.submit(stream := stream_of(1))
        chunk = await take(engine, stream)
        assert content(chunk) == content(chunk_of([1]))
        assert await take(engine, stream) is End.COUNT
        engine.drain()
        assert await take(engine, stream) is End.COUNT


# Everything together.


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
async def test_no_stream_loses_or_repeats_an_id(seed: int) -> None:
    choose = random.Random(seed)
    runner = ScriptedRunner(lambda n: n + 1, ending_at(100), ending_at(700))
    async with running(runner, lanes=2, max_batch=5, queue_size=1000, turn_budget=1e-4) as engine:

        async def check(stream: Stream, script: int) -> None:
            ids: list[int] = []
            patience = choose.randrange(3000)
            while isinstance(taken := await take(engine, stream), IdChunk):
                ids += taken.ids.tolist()
                if patience < 500 and len(ids) > patience:  # one in six leaves early
                    engine.release(stream)
                    break
                for _ in range(choose.randrange(5)):
                    await asyncio.sleep(0)
            else:
                expected = min(stream.count, [stream.count, 100, 700][script])
                assert len(ids) == expected
                assert taken is (End.COUNT if expected == stream.count else End.BOUNDARY)
                engine.release(stream)
            assert ids == counted(len(ids))

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                script = choose.randrange(3)
                stream = stream_of(choose.choice([1, 5, 99, 2500]), read=[1] * choose.randrange(40), script=script)
                engine.submit(stream)
                group.create_task(check(stream, script))
                await asyncio.sleep(0)
        assert (engine.admission.waiting, engine.admission.paused) == (0, 0)
    assert max(turn.rows for turn in runner.turns) <= 5


async def test_work_beside_the_lanes_is_done_by_one_thread_at_a_time() -> None:
    at_once: list[int] = []
    running_now = 0

    def work() -> None:
        nonlocal running_now
        running_now += 1
        at_once.append(running_now)
        running_now -= 1

    async with running(ScriptedRunner()) as engine:
        await asyncio.gather(*(engine.aside(work) for _ in range(20)))
    assert at_once == [1] * 20
