"""Lanes, through an engine over a scripted runner: the ids that streams get, and the steps of a turn."""

import pytest

from nextchar_model.draws import uniform
from nextchar_server.engine import delivery
from nextchar_server.engine.lane import MAX_STEPS, SLOWED_STEPS
from nextchar_server.engine.stream import End
from tests.support.scripted_runner import (
    BUDGETS,
    MANY_STEPS,
    ONE_STEP,
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

# The ids of a stream.


@BUDGETS
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
async def test_a_stream_gets_the_ids_that_it_asked_for(count: int, turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(count))
        chunk, end = await whole(engine, stream)
    assert chunk.ids.tolist() == counted(count)
    assert end is End.COUNT


@BUDGETS
async def test_read_ids_do_not_come_out_unless_asked_for(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(3, read=[7, 8, 9]))
        chunk, _ = await whole(engine, stream)
    assert content(chunk) == content(chunk_of([1, 2, 3]))


@BUDGETS
async def test_read_ids_come_out_with_log_probabilities_if_asked_for(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        stream = stream_of(3, read=[7, 8, 9], reports_reading=True, alternatives=0, seed=5)
        engine.submit(stream)
        chunk, _ = await whole(engine, stream)
    assert chunk.ids.tolist() == [7, 8, 9, 1, 2, 3]
    assert content(chunk)[1:] == ([-7, -8, -9, *uniform(5, 0, 3).tolist()], [[]] * 6, [[]] * 6)


@BUDGETS
@pytest.mark.parametrize("length", [1, 2, 300])
async def test_a_text_that_is_only_read_ends_after_it(length: int, turn_budget: float) -> None:
    read = [3] * length
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(0, read=read, reports_reading=True, alternatives=0))
        chunk, end = await whole(engine, stream)
    assert chunk.ids.tolist() == read
    assert content(chunk)[1] == [-3.0] * length
    assert end is End.COUNT


async def test_the_first_id_comes_at_once_and_later_ones_at_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MESSAGE_PACE", 1e9)
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=ONE_STEP) as engine:
        engine.submit(stream := stream_of(5))
        await runner.begun()
        await runner.step()
        assert content(await take(engine, stream)) == content(chunk_of([1]))
        await runner.step()
        assert content(await take(engine, stream)) == content(chunk_of([2]))  # no message for long: it is due
        runner.let(3)
        assert content(await take(engine, stream)) == content(chunk_of([3, 4, 5]))


@BUDGETS
async def test_an_empty_stream_ends(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(0))
        chunk, end = await whole(engine, stream)
    assert (chunk.ids.tolist(), end) == ([], End.COUNT)


@BUDGETS
@pytest.mark.parametrize("place", [0, 1, 5, 300])
async def test_the_boundary_ends_a_stream_and_nothing_follows(place: int, turn_budget: float) -> None:
    async with running(ScriptedRunner(ending_at(place)), turn_budget=turn_budget) as engine:
        engine.submit(stream := stream_of(1000, read=[4, 4]))
        chunk, end = await whole(engine, stream)
    assert chunk.ids.tolist() == counted(place)
    assert end is End.BOUNDARY


@BUDGETS
async def test_a_boundary_just_after_the_last_id_is_not_seen(turn_budget: float) -> None:
    async with running(ScriptedRunner(ending_at(3)), turn_budget=turn_budget) as engine:
        engine.submit(other := stream_of(50, script=0))
        engine.submit(stream := stream_of(3))
        chunk, end = await whole(engine, stream)
        assert (await whole(engine, other))[1] is End.BOUNDARY
    assert chunk.ids.tolist() == counted(3)
    assert end is End.COUNT


async def test_the_boundary_of_one_stream_leaves_the_others_alone() -> None:
    runner = ScriptedRunner(ending_at(4), lambda n: n + 1)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        streams = [stream_of(600, script=script) for script in (1, 0, 1, 0)]
        for stream in streams:
            engine.submit(stream)
        given = [await whole(engine, stream) for stream in streams]
    assert [(len(chunk), end) for chunk, end in given] == [
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
    assert [chunk.ids.tolist() for chunk in given] == [counted(5)] * 4
    assert content(given[0])[1:] == (None, None, None)
    for chunk, alternatives in zip(given[1:], (0, 2, 3), strict=True):
        assert content(chunk)[2:] == ([[100, 101, 102][:alternatives]] * 5, [[0.0, -1.0, -2.0][:alternatives]] * 5)


@BUDGETS
async def test_the_random_numbers_of_a_stream_do_not_depend_on_other_streams(turn_budget: float) -> None:
    async with running(ScriptedRunner(), lanes=2, max_batch=3, turn_budget=turn_budget) as engine:
        streams = [stream_of(17 * n, read=[2] * (n % 4), seed=n, alternatives=0) for n in range(1, 12)]
        for stream in streams:
            engine.submit(stream)
        for seed, stream in enumerate(streams, 1):
            chunk, _ = await whole(engine, stream)
            assert content(chunk)[1] == uniform(seed, 0, stream.count).tolist()


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
        assert content(await take(engine, near)) == content(chunk_of(counted(7)))
        assert content(await take(engine, far)) == content(chunk_of([1]))
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
        assert content(await take(engine, late)) == content(chunk_of([1]))
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


async def test_slowed_streams_take_few_steps_alone_and_those_of_others_beside_them() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        slowed = stream_of(5000)
        slowed.pace(5000, is_slowed=True)
        engine.submit(slowed)
        await runner.begun()
        await runner.step(1)
        engine.submit(stream_of(21))
        await runner.step(5)
    turns = [(turn.rows, turn.steps) for turn in runner.turns[:6]]
    assert turns == [(1, 1), (1, SLOWED_STEPS), (1, 1), (2, 1), (2, 19), (1, SLOWED_STEPS)]


async def test_a_turn_is_not_cut_short_for_a_stream_that_ends_within_it() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(stream_of(5000))
        await runner.begun()
        engine.submit(short := stream_of(20))
        await runner.step(5)
        chunk, _ = await whole(engine, short)
    assert chunk.ids.tolist() == counted(20)
    turns = [(turn.rows, turn.steps) for turn in runner.turns[:6]]
    assert turns == [(1, 1), (1, 256), (1, 1), (2, 1), (2, 256), (1, 256)]
