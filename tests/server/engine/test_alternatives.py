"""Rows with alternatives, through an engine over a scripted runner: what they may cost the other rows."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from nextchar_model.batch import Steps
from nextchar_server.engine import lane
from nextchar_server.engine.stream import End
from tests.support.scripted_runner import MANY_STEPS, ONE_STEP, ScriptedRunner, counted, running, stream_of, whole


class CostlyRunner(ScriptedRunner):
    """Counts the time of its steps: one second each, and ``cost`` seconds if they look for alternatives."""

    def __init__(self, cost: float) -> None:
        super().__init__(gated=True)
        self.cost = cost
        self.plain = self.rich = 0.0
        self.beside: list[float] = []
        """``rich`` at each turn of rows without alternatives."""

    def advance(self, *arguments: Any, **options: Any) -> Steps:
        steps = super().advance(*arguments, **options)
        if options["alternatives"]:
            self.rich += len(steps.ids) * self.cost
        else:
            self.beside.append(self.rich)
            self.plain += len(steps.ids)
        return steps


async def test_no_row_looks_for_alternatives_that_it_did_not_ask_for() -> None:
    runner = ScriptedRunner()
    async with running(runner, turn_budget=ONE_STEP, min_steps=4) as engine:
        plain = [stream_of(100, read=[3] * 9) for _ in range(5)]
        rich = [stream_of(100, read=[3] * 9, alternatives=alternatives) for alternatives in (1, 20)]
        logprobs = stream_of(100, alternatives=0)
        for stream in (*plain, *rich, logprobs):
            engine.submit(stream)
        given = [await whole(engine, stream) for stream in (*plain, *rich, logprobs)]
    assert all((chunk.ids.tolist(), end) == (counted(100), End.COUNT) for chunk, end in given)
    assert max(turn.rows for turn in runner.turns if turn.alternatives) == len(rich)


@pytest.mark.parametrize(("rich_rows", "share"), [(1, 0.25), (8, 0.25), (30, 0.5)])
async def test_rows_with_alternatives_take_no_more_time_than_their_share(
    monkeypatch: pytest.MonkeyPatch, rich_rows: int, share: float
) -> None:
    runner = CostlyRunner(cost=7.0)
    clock = SimpleNamespace(thread_time=lambda: runner.plain + runner.rich, monotonic=time.monotonic)
    monkeypatch.setattr(lane, "time", clock)
    async with running(runner, turn_budget=ONE_STEP, min_steps=8) as engine:
        plain = [stream_of(600) for _ in range(30)]
        engine.submit(plain[0])
        await runner.begun()
        for stream in [*plain[1:], *(stream_of(10_000, alternatives=20) for _ in range(rich_rows))]:
            engine.submit(stream)
        runner.let(100_000)
        for stream in plain:
            await whole(engine, stream)
    rich = runner.beside[-1] - runner.beside[0]
    assert 0 < rich <= share * (runner.plain + rich) + 8 * runner.cost  # and one turn in advance


async def test_rows_with_alternatives_take_no_more_steps_than_the_others() -> None:
    runner = ScriptedRunner(gated=True)
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        engine.submit(stream_of(5000, alternatives=20))
        engine.submit(stream_of(4))
        await runner.begun()
        await runner.step(3)
    plain = [turn.steps for turn in runner.turns if not turn.alternatives]
    rich = [turn.steps for turn in runner.turns if turn.alternatives]
    assert plain[:2] == [1, 3]
    assert rich[:2] == [1, 3]
