"""Lanes, through an engine over a scripted runner: rows, turns and delivery."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from nextchar_model.draws import uniform
from nextchar_server.engine import lane
from nextchar_server.engine.admission import QueueFullError
from nextchar_server.engine.lane import MAX_STEPS
from nextchar_server.engine.stream import OUTBOX_IDS, End, IdChunk, LaneError, Stream
from tests.support.scripted_runner import MANY_STEPS, ONE_STEP, ScriptedRunner, running, stream_of, take, whole

BUDGETS = pytest.mark.parametrize("turn_budget", [ONE_STEP, MANY_STEPS], ids=["one step", "many steps"])


def counted(count: int) -> list[int]:
    """Returns the ids that a stream of ``count`` should get."""
    return list(range(1, count + 1))


def ending_at(place: int) -> Callable[[int], int]:
    """Returns a script in which the boundary comes at ``place``."""
    return lambda n: 0 if n == place else n + 1


# The ids of a stream.


@BUDGETS
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
async def test_a_stream_gets_the_ids_that_it_asked_for(count: int, turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(count))
        chunk, end = await whole(engine, stream)
    assert chunk.ids == counted(count)
    assert end is End.COUNT


@BUDGETS
async def test_read_ids_do_not_come_out_unless_asked_for(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(3, read=[7, 8, 9]))
        chunk, _ = await whole(engine, stream)
    assert chunk == IdChunk([1, 2, 3])


@BUDGETS
async def test_read_ids_come_out_with_log_probabilities_if_asked_for(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        stream = stream_of(3, read=[7, 8, 9], reports_reading=True, alternatives=0, seed=5)
        engine.submit(stream)
        chunk, _ = await whole(engine, stream)
    assert chunk.ids == [7, 8, 9, 1, 2, 3]
    assert chunk.logprobs == [-7, -8, -9, *uniform(5, 0, 3).tolist()]
    assert chunk.alternatives == [[]] * 6


@BUDGETS
@pytest.mark.parametrize("length", [1, 2, 300])
async def test_a_text_that_is_only_read_ends_after_it(length: int, turn_budget: float) -> None:
    read = [3] * length
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(0, read=read, reports_reading=True, alternatives=0))
        chunk, end = await whole(engine, stream)
    assert chunk.ids == read
    assert chunk.logprobs == [-3.0] * length
    assert end is End.COUNT


async def test_the_first_id_comes_at_once_and_later_ones_at_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "MESSAGE_PACE", 1e9)
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=ONE_STEP) as engine:
        engine.submit(stream := stream_of(5))
        await runner.begun()
        await runner.step()
        assert await take(engine, stream) == IdChunk([1])
        await runner.step()
        assert await take(engine, stream) == IdChunk([2])  # no message for long: it is due
        runner.let(3)
        assert await take(engine, stream) == IdChunk([3, 4, 5])


@BUDGETS
async def test_an_empty_stream_ends(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(0))
        assert await whole(engine, stream) == (IdChunk(), End.COUNT)


@BUDGETS
@pytest.mark.parametrize("place", [0, 1, 5, 300])
async def test_the_boundary_ends_a_stream_and_nothing_follows(place: int, turn_budget: float) -> None:
    async with running(ScriptedRunner(ending_at(place)), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(1000, read=[4, 4]))
        chunk, end = await whole(engine, stream)
    assert chunk.ids == counted(place)
    assert end is End.BOUNDARY


@BUDGETS
async def test_a_boundary_just_after_the_last_id_is_not_seen(turn_budget: float) -> None:
    async with running(ScriptedRunner(ending_at(3)), turn_budget=turn_budget) as engine:
        engine.submit(other := stream_of(50, script=0))
        engine.submit(stream := stream_of(3))
        chunk, end = await whole(engine, stream)
        assert (await whole(engine, other))[1] is End.BOUNDARY
    assert chunk.ids == counted(3)
    assert end is End.COUNT


async def test_the_boundary_of_one_stream_leaves_the_others_alone() -> None:
    runner = ScriptedRunner(ending_at(4), lambda n: n + 1)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        streams = [stream_of(600, script=script) for script in (1, 0, 1, 0)]
        for stream in streams:
            engine.submit(stream)
        given = [await whole(engine, stream) for stream in streams]
    assert [(len(chunk.ids), end) for chunk, end in given] == [
        (600, End.COUNT),
        (4, End.BOUNDARY),
        (600, End.COUNT),
        (4, End.BOUNDARY),
    ]


async def test_each_stream_gets_as_many_alternatives_as_it_asked_for() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        streams = [stream_of(5, alternatives=alternatives) for alternatives in (None, 0, 2, 3)]
        for stream in streams:
            engine.submit(stream)
        given = [(await whole(engine, stream))[0] for stream in streams]
    assert [chunk.ids for chunk in given] == [counted(5)] * 4
    assert [len(chunk.logprobs) for chunk in given] == [0, 5, 5, 5]
    assert given[0].alternatives == []
    assert given[1].alternatives == [[]] * 5
    assert given[2].alternatives == [[(100, 0.0), (101, -1.0)]] * 5
    assert given[3].alternatives == [[(100, 0.0), (101, -1.0), (102, -2.0)]] * 5


@BUDGETS
async def test_the_random_numbers_of_a_stream_do_not_depend_on_other_streams(turn_budget: float) -> None:
    async with running(ScriptedRunner(), lanes=2, max_batch=3, turn_budget=turn_budget) as engine:
        streams = [stream_of(17 * n, read=[2] * (n % 4), seed=n, alternatives=0) for n in range(1, 12)]
        for stream in streams:
            engine.submit(stream)
        for stream in streams:
            chunk, _ = await whole(engine, stream)
            assert chunk.logprobs == uniform(stream.seed, 0, stream.count).tolist()


# The number of steps of a turn.


async def test_streams_that_await_their_first_id_are_advanced_apart_from_running_ones() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(stream_of(5000))
        await runner.begun()
        await runner.step(2)
        engine.submit(near := stream_of(5000, read=[1] * 3))
        engine.submit(far := stream_of(5000, read=[1] * 9))
        await runner.step(4)
        assert await take(engine, near) == IdChunk(counted(7))
        assert await take(engine, far) == IdChunk([1])
    # The first turn of each number of rows has one step, to measure it.
    turns = [(turn.rows, turn.steps) for turn in runner.turns[:6]]
    assert turns == [(1, 1), (1, 256), (1, 256), (2, 1), (1, 256), (2, 9)]


async def test_a_long_prompt_is_read_one_turn_budget_at_a_time_while_others_run() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=ONE_STEP, min_steps=8) as engine:
        engine.submit(stream_of(5000))
        await runner.begun()
        engine.submit(late := stream_of(5000, read=[5] * 20))
        await runner.step(7)
        assert await take(engine, late) == IdChunk([1])
    turns = [(turn.rows, turn.steps) for turn in runner.turns[:8]]
    assert turns == [(1, 1), (1, 8), (1, 8), (1, 8), (1, 8), (1, 8), (1, 5), (2, 8)]


async def test_a_turn_has_the_minimum_of_steps_however_small_the_budget() -> None:
    runner = ScriptedRunner()
    async with running(runner, turn_budget=ONE_STEP, min_steps=8) as engine:
        engine.submit(stream := stream_of(20, read=[5]))  # its first id comes after two steps
        await whole(engine, stream)
    assert [turn.steps for turn in runner.turns] == [2, 8, 8, 3]


async def test_a_turn_has_no_more_steps_than_its_longest_stream_needs() -> None:
    runner = ScriptedRunner()
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(stream := stream_of(2 * MAX_STEPS + 11))
        await whole(engine, stream)
    assert [turn.steps for turn in runner.turns] == [1, MAX_STEPS, MAX_STEPS, 10]


async def test_a_turn_is_not_cut_short_for_a_stream_that_ends_within_it() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(stream_of(5000))
        await runner.begun()
        engine.submit(short := stream_of(20))
        await runner.step(5)
        chunk, _ = await whole(engine, short)
    assert chunk.ids == counted(20)
    turns = [(turn.rows, turn.steps) for turn in runner.turns[:6]]
    assert turns == [(1, 1), (1, 256), (1, 1), (2, 1), (2, 256), (1, 256)]


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
    assert (chunk.ids, end) == ([1, 2], End.COUNT)
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
    assert all(chunk.ids == counted(40) for chunk, _ in given)
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
        assert chunk.ids == counted(50_000)
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
async def test_a_slow_reader_gets_everything_once_it_reads(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(slow := stream_of(7000, read=[9] * 50, seed=3, alternatives=0))
        engine.submit(fast := stream_of(5000))
        await whole(engine, fast)
        chunk, end = await whole(engine, slow)
    assert chunk.ids == counted(7000)
    assert chunk.logprobs == uniform(3, 0, 7000).tolist()
    assert end is End.COUNT


async def test_a_slow_reader_of_read_ids_gets_everything() -> None:
    read = [n % 90 + 1 for n in range(6000)]
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(10, read=read, reports_reading=True, alternatives=0))
        engine.submit(fast := stream_of(5000))
        await whole(engine, fast)
        assert engine.admission.paused == 1
        chunk, _ = await whole(engine, slow)
    assert chunk.ids == read + counted(10)


async def test_a_stream_that_is_cancelled_while_its_reader_is_slow_is_forgotten() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(50_000))
        engine.submit(fast := stream_of(50_000))
        await whole(engine, fast)
        engine.release(slow)
        assert engine.admission.paused == 0
        assert slow.sampled_count <= OUTBOX_IDS + MAX_STEPS


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
        assert await take(engine, first) == IdChunk([1, 2])
        for stream in (first, second):
            with pytest.raises(LaneError, match="ArithmeticError: no such sum"):
                await take(engine, stream)
            engine.release(stream)
        engine.submit(third := stream_of(1))
        await runner.begun()
        runner.let()
        assert await whole(engine, third) == (IdChunk([1]), End.COUNT)
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
    assert given[0][0].ids == counted(4)


async def test_draining_ends_a_stream_of_a_slow_reader_after_the_ids_it_has() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(slow := stream_of(50_000))
        engine.submit(fast := stream_of(50_000))
        await whole(engine, fast)
        engine.drain()
        chunk, end = await whole(engine, slow)
    assert chunk.ids == counted(len(chunk.ids))
    assert len(chunk.ids) >= OUTBOX_IDS
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
        assert chunk == IdChunk([1])
        assert await take(engine, stream) is End.COUNT
        engine.drain()
        assert await take(engine, stream) is End.COUNT


# Everything together.


@pytest.mark.parametrize("seed", range(3))
async def test_no_stream_loses_or_repeats_an_id(seed: int) -> None:
    choose = random.Random(seed)
    runner = ScriptedRunner(lambda n: n + 1, ending_at(100), ending_at(700))
    async with running(runner, lanes=2, max_batch=5, queue_size=1000, turn_budget=1e-4) as engine:

        async def check(stream: Stream, script: int) -> None:
            ids: list[int] = []
            patience = choose.randrange(3000)
            while isinstance(taken := await take(engine, stream), IdChunk):
                ids += taken.ids
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
