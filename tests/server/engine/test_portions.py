"""Long prompts and texts that are only read, through an engine over a scripted runner: their cost to the others."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from nextchar_model.batch import Steps
from nextchar_server.engine import lane
from nextchar_server.engine.portions import LONG, MOST_ROWS
from nextchar_server.engine.stream import End, LaneError
from tests.support.scripted_runner import (
    BUDGETS,
    MANY_STEPS,
    ONE_STEP,
    ScriptedRunner,
    content,
    counted,
    running,
    stream_of,
    take,
    whole,
)

_MANY = 10**5


class TimedRunner(ScriptedRunner):
    """Counts the time of its steps, a second for each row, apart for steps that read and steps that sample."""

    def __init__(self) -> None:
        super().__init__(gated=True)
        self.reading = self.sampling = 0.0
        self.beside: list[float] = []
        """``reading`` at each turn of rows that sample."""

    def advance(self, batch: Any, forced: Any, draws: Any, *, read: Any, alternatives: int = 0) -> Steps:
        seconds = float(len(batch) * (len(read) + len(forced)))
        if len(read) or (forced >= 0).any():
            self.reading += seconds
        else:
            self.beside.append(self.reading)
            self.sampling += seconds
        return super().advance(batch, forced, draws, read=read, alternatives=alternatives)


@BUDGETS
@pytest.mark.parametrize("length", [LONG + 1, LONG + 2, 3000])
@pytest.mark.parametrize("reports_reading", [False, True])
async def test_a_long_prompt_comes_out_whole_or_not_at_all(
    length: int, reports_reading: bool, turn_budget: float
) -> None:
    read = [place % 7 for place in range(length)]
    async with running(ScriptedRunner(), turn_budget=turn_budget) as engine:
        streams = [stream_of(5, read=read, reports_reading=reports_reading) for _ in range(3)]
        for stream in streams:
            engine.submit(stream)
        given = [await whole(engine, stream) for stream in streams]
    expected = [*(read if reports_reading else []), *counted(5)]
    assert all((chunk.ids.tolist(), end) == (expected, End.COUNT) for chunk, end in given)


async def test_a_newcomer_is_read_next_however_many_long_prompts_there_are() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=500, queue_size=500, turn_budget=ONE_STEP, min_steps=4) as engine:
        for _ in range(4):
            engine.submit(stream_of(_MANY))
        for number in range(200):
            engine.submit(stream_of(_MANY, read=[1] * _MANY, caller=str(number)))
        await runner.begun()
        await runner.step(30)
        engine.submit(newcomer := stream_of(_MANY, read=[1] * 3))
        await runner.step(2)
        assert content(await take(engine, newcomer))[0] == [1]
        assert runner.turns[-2].rows == 1


async def test_no_portion_has_more_than_its_rows() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, max_batch=500, queue_size=500, turn_budget=ONE_STEP) as engine:
        for number in range(200):
            engine.submit(stream_of(1, read=[1] * _MANY, caller=str(number)))
        await runner.begun()
        await runner.step(30)
        engine.drain()
    assert max(turn.rows for turn in runner.turns) == MOST_ROWS


@pytest.mark.parametrize(("long", "least", "most"), [(1, 0.2, 0.3), (8, 0.2, 0.3), (60, 0.6, 0.72), (400, 0.7, 0.8)])
async def test_long_prompts_have_the_part_of_the_time_that_their_rows_have_but_a_quarter_at_least_and_three_at_most(
    monkeypatch: pytest.MonkeyPatch, long: int, least: float, most: float
) -> None:
    runner = TimedRunner()
    clock = SimpleNamespace(thread_time=lambda: runner.reading + runner.sampling, monotonic=time.monotonic)
    monkeypatch.setattr(lane, "time", clock)
    async with running(runner, max_batch=500, queue_size=500, turn_budget=ONE_STEP, min_steps=8) as engine:
        others = [stream_of(900, caller=f"other {number}") for number in range(30)]
        engine.submit(others[0])
        await runner.begun()
        for number in range(long):
            engine.submit(stream_of(1, read=[1] * _MANY, caller=str(number)))
        for stream in others[1:]:
            engine.submit(stream)
        runner.let(_MANY)
        for stream in others:
            await whole(engine, stream)
        reading = runner.beside[-1] - runner.beside[len(runner.beside) // 10]
        sampling = runner.sampling * 0.9
    assert least <= reading / (reading + sampling) <= most


async def test_time_that_a_long_prompt_took_alone_is_not_held_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = TimedRunner()
    clock = SimpleNamespace(thread_time=lambda: runner.reading + runner.sampling, monotonic=time.monotonic)
    monkeypatch.setattr(lane, "time", clock)
    async with running(runner, turn_budget=ONE_STEP, min_steps=8) as engine:
        engine.submit(stream_of(1, read=[1] * _MANY))
        await runner.begun()
        await runner.step(60)
        alone = runner.reading
        engine.submit(other := stream_of(80))
        runner.let(_MANY)
        await whole(engine, other)
        reading = runner.beside[-1] - alone
        assert alone > runner.sampling
        assert reading / (reading + runner.sampling) > 0.2


async def test_texts_that_are_only_read_are_read_beside_running_streams_that_never_end() -> None:
    async with running(ScriptedRunner(), turn_budget=ONE_STEP) as engine:
        for _ in range(3):
            engine.submit(stream_of(10**7))
        texts = [stream_of(0, read=[3] * 300, reports_reading=True, alternatives=n % 2 * 3) for n in range(9)]
        for text in texts:
            engine.submit(text)
        given = [await whole(engine, text) for text in texts]
    assert all((chunk.ids.tolist(), end) == ([3] * 300, End.COUNT) for chunk, end in given)


async def test_a_few_texts_that_are_only_read_run_along_with_many_others() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=ONE_STEP) as engine:
        for _ in range(16):
            engine.submit(stream_of(_MANY))
        await runner.begun()
        await runner.step(4)
        for _ in range(3):
            engine.submit(stream_of(0, read=[3] * _MANY, reports_reading=True, alternatives=0))
        await runner.step(8)
        engine.drain()
    assert {turn.rows for turn in runner.turns[-6:]} == {18, 1}


async def test_silent_reading_is_not_slowed_by_prompts_that_come_out() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        for reports_reading in (False, True, False, True):
            engine.submit(stream_of(1, read=[1] * _MANY, reports_reading=reports_reading))
        await runner.begun()
        await runner.step(8)
        engine.drain()
    assert {turn.rows for turn in runner.turns[-6:]} == {2}


async def test_a_portion_that_fails_ends_all_streams_of_its_lane() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=ONE_STEP) as engine:
        streams = [stream_of(5, read=[1] * 1000) for _ in range(3)]
        for stream in streams:
            engine.submit(stream)
        await runner.begun()
        await runner.step(4)
        runner.fails = ArithmeticError("no such sum")
        runner.let(2)
        for stream in streams:
            with pytest.raises(LaneError, match="no such sum"):
                await whole(engine, stream)
