"""Rows, through an engine over a scripted runner: who has one, and who leaves for a slow reader."""

from collections import Counter

import pytest

from nextchar_model.draws import uniform
from nextchar_server.engine.admission import QueueFullError
from nextchar_server.engine.lane import MAX_STEPS
from nextchar_server.engine.stream import OUTBOX_IDS, End
from tests.support.scripted_runner import (
    BUDGETS,
    MANY_STEPS,
    ScriptedRunner,
    content,
    counted,
    running,
    stream_of,
    whole,
)

# Rows.


async def test_a_late_stream_joins_running_ones_and_ends_before_them() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner) as engine:
        engine.submit(early := stream_of(100))
        await runner.begun()
        await runner.step(5)
        engine.submit(late := stream_of(2))
        await runner.step(3)
        chunk, end = await whole(engine, late)
        assert not early.is_over
    assert (chunk.ids.tolist(), end) == ([1, 2], End.COUNT)
    # Its first id comes in a turn of its own.
    assert [turn.rows for turn in runner.turns[:9]] == [1, 1, 1, 1, 1, 1, 1, 2, 1]


@BUDGETS
@pytest.mark.parametrize("lanes", [1, 2])
async def test_no_batch_has_more_than_its_rows(lanes: int, turn_budget: float) -> None:
    runner = ScriptedRunner()
    async with running(runner, lanes=lanes, max_batch=3, turn_budget=turn_budget) as engine:
        streams = [stream_of(40) for _ in range(20)]
        for stream in streams:
            engine.submit(stream)
        given = [await whole(engine, stream) for stream in streams]
    assert all(chunk.ids.tolist() == counted(40) for chunk, _ in given)
    assert max(turn.rows for turn in runner.turns) == 3


async def test_streams_spread_evenly_over_the_lanes() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, lanes=3) as engine:
        for _ in range(12):
            engine.submit(stream_of(1000))
        await runner.begun(3)
        await runner.step(9)  # a lane that took fewer than its share takes the rest in its next turn
        latest = {turn.lane: turn.rows for turn in runner.turns}
        runner.let(6)
        engine.drain()
    assert latest == {"lane-0": 4, "lane-1": 4, "lane-2": 4}


async def test_streams_that_come_one_by_one_go_to_lanes_that_have_fewer() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, lanes=2) as engine:
        for expected in (1, 2):
            engine.submit(stream_of(1000))
            await runner.begun()  # only a sleeping lane begins a turn: the other one is at its gate
            assert engine.admission.active == expected
        assert Counter(turn.lane for turn in runner.turns) == {"lane-0": 1, "lane-1": 1}


async def test_the_row_of_a_cancelled_stream_is_free_at_the_next_turn() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=2) as engine:
        first, second, third = (stream_of(100) for _ in range(3))
        engine.submit(first)
        engine.submit(second)
        await runner.begun()
        await runner.step(4)
        assert runner.turns[-1].rows == 2
        engine.submit(third)
        engine.release(first)
        assert engine.admission.waiting == 1
        await runner.step()
        assert engine.admission.waiting == 0  # third has a row now
        await runner.step()
        assert runner.turns[-1].rows == 2


async def test_a_lane_whose_streams_are_all_cancelled_takes_no_more_turns() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner) as engine:
        engine.submit(stream := stream_of(1000))
        await runner.begun()
        engine.release(stream)
    assert len(runner.turns) == 1


async def test_a_cancelled_stream_that_waits_leaves_the_queue_and_never_runs() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=1, queue_size=1) as engine:
        engine.submit(first := stream_of(2))
        await runner.begun()
        engine.submit(second := stream_of(2))
        engine.release(second)
        assert engine.admission.waiting == 0
        engine.submit(third := stream_of(1))  # its place is free
        runner.let(3)
        await whole(engine, first)
        await whole(engine, third)
        assert second.row is None
        assert second.sampled_count == 0
    assert len(runner.turns) == 3


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("queue_size", [0, 1, 5])
async def test_exactly_queue_size_streams_wait_beyond_the_rows(queue_size: int, lanes: int) -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, lanes=lanes, max_batch=2, queue_size=queue_size) as engine:
        for _ in range(2 * lanes + queue_size):
            engine.submit(stream_of(1000))
        with pytest.raises(QueueFullError, match=f"holds {2 * lanes + queue_size} requests already"):
            engine.submit(stream_of(1000))
        await runner.begun(lanes)
        await runner.step(4 * lanes)  # all rows are taken now
        assert engine.admission.active == 2 * lanes
        assert engine.admission.waiting == queue_size
        with pytest.raises(QueueFullError):
            engine.submit(stream_of(1000))


async def test_a_place_in_the_queue_is_free_once_a_stream_ended() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=1, queue_size=1) as engine:
        engine.submit(first := stream_of(1))
        engine.submit(stream_of(1000))
        with pytest.raises(QueueFullError):
            engine.submit(stream_of(1))
        await runner.begun()
        await runner.step()
        await whole(engine, first)
        engine.submit(stream_of(1))


async def test_idle_lanes_take_no_turns() -> None:
    runner = ScriptedRunner()
    async with running(runner, lanes=4) as engine:
        for _ in range(3):
            engine.submit(stream := stream_of(5))
            await whole(engine, stream)
    assert [turn.rows for turn in runner.turns] == [1] * 15


# Slow readers.


async def test_the_outbox_of_a_slow_reader_is_bounded_while_others_continue() -> None:
    runner = ScriptedRunner()
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(50_000))
        engine.submit(fast := stream_of(50_000))
        chunk, _ = await whole(engine, fast)
        assert chunk.ids.tolist() == counted(50_000)
        assert engine.admission.paused == 1
        assert OUTBOX_IDS <= slow._put <= OUTBOX_IDS + MAX_STEPS
        assert runner.turns[-1].rows == 1
        engine.release(slow)


async def test_a_lane_whose_readers_are_all_slow_takes_no_turns() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner) as engine:
        engine.submit(slow := stream_of(50_000))
        await runner.begun()
        await runner.step(OUTBOX_IDS - 1)
        runner.let()
        engine.submit(other := stream_of(1))  # the lane wakes up for it, and only for it
        await runner.begun()
        runner.let()
        await whole(engine, other)
        assert engine.admission.paused == 1
        assert slow.sampled_count == OUTBOX_IDS
    assert len(runner.turns) == OUTBOX_IDS + 1


@BUDGETS
@pytest.mark.slow
async def test_a_slow_reader_gets_everything_once_it_reads(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(slow := stream_of(7000, read=[9] * 50, seed=3, alternatives=0))
        engine.submit(fast := stream_of(5000))
        await whole(engine, fast)
        chunk, end = await whole(engine, slow)
    assert chunk.ids.tolist() == counted(7000)
    assert content(chunk)[1] == uniform(3, 0, 7000).tolist()
    assert end is End.COUNT


async def test_a_slow_reader_of_read_ids_gets_everything() -> None:
    read = [n % 90 + 1 for n in range(6000)]
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(10, read=read, reports_reading=True, alternatives=0))
        engine.submit(fast := stream_of(5000))
        await whole(engine, fast)
        assert engine.admission.paused == 1
        chunk, _ = await whole(engine, slow)
    assert chunk.ids.tolist() == read + counted(10)


async def test_a_stream_that_is_cancelled_while_its_reader_is_slow_is_forgotten() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(50_000))
        engine.submit(fast := stream_of(50_000))
        await whole(engine, fast)
        engine.release(slow)
        assert engine.admission.paused == 0
        assert slow.sampled_count <= OUTBOX_IDS + MAX_STEPS
