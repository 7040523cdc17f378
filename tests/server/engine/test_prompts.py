"""Prompts that begin alike, through an engine over a scripted runner: the steps that are spared, and which are not."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from nextchar_server.engine.engine import Engine
from nextchar_server.engine.prompts import CUT_COST, SHORTEST, SPACING, WORTH
from nextchar_server.engine.stream import End
from tests.support.scripted_runner import (
    MANY_STEPS,
    ScriptedRunner,
    chunk_of,
    content,
    counted,
    running,
    stream_of,
    whole,
)

PROMPT = [1 + n * n % 50 for n in range(5000)]


@asynccontextmanager
async def remembering(runner: ScriptedRunner) -> AsyncIterator[Engine]:
    """Runs an engine with a cache, and with turns that have as many steps as a turn may have."""
    async with running(runner, turn_budget=MANY_STEPS) as engine:
        await generated(engine, [])  # the first turn, which is measured, has one step
        engine.prefixes.size = 2**20
        yield engine


async def generated(engine: Engine, read: Sequence[int]) -> None:
    """Lets a stream read ``read`` and sample five ids."""
    engine.submit(stream := stream_of(5, read=read))
    chunk, end = await whole(engine, stream)
    assert (chunk.ids.tolist()[-5:], end) == (counted(5), End.COUNT)


async def steps_to_generate(engine: Engine, runner: ScriptedRunner, read: Sequence[int]) -> int:
    """Returns the number of steps in which a stream reads ``read`` and samples five ids."""
    before = sum(turn.steps for turn in runner.turns)
    await generated(engine, read)
    return sum(turn.steps for turn in runner.turns) - before


async def test_a_prompt_that_comes_again_is_not_read_again() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        assert await steps_to_generate(engine, runner, PROMPT) == len(PROMPT) + 5
        assert await steps_to_generate(engine, runner, PROMPT) == 5
        assert (engine.prefixes.hits, engine.prefixes.misses) == (1, 1)


async def test_a_long_prompt_that_ends_soon_after_a_state_is_known_whole_too() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        for length in range(4096 + WORTH + 2, 4096 + 100, 20):
            prompt = [length % 7 + 1, *PROMPT[:length]]
            await generated(engine, prompt)
            assert await steps_to_generate(engine, runner, prompt) == 5


async def test_a_prompt_that_extends_another_one_is_read_from_its_end() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        await generated(engine, PROMPT[:2000])
        assert await steps_to_generate(engine, runner, [*PROMPT[:2000], *[7] * 30]) == 30 + 5


async def test_a_prompt_that_begins_like_another_one_is_read_from_a_place_near_by() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        await generated(engine, PROMPT)
        for alike in (300, 1000, 2999):
            steps = await steps_to_generate(engine, runner, [*PROMPT[:alike], 60])
            assert steps <= SPACING + 1 + 5


async def test_a_prompt_that_begins_otherwise_is_read_whole() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        await generated(engine, PROMPT)
        assert await steps_to_generate(engine, runner, [60, *PROMPT]) == 1 + len(PROMPT) + 5


async def test_a_short_prompt_does_not_use_the_cache() -> None:
    async with remembering(ScriptedRunner()) as engine:
        for _ in range(2):
            await generated(engine, PROMPT[: SHORTEST - 1])
        assert (engine.prefixes.used, engine.prefixes.hits, engine.prefixes.misses) == (0, 0, 0)


async def test_turns_are_ended_early_no_more_often_than_the_steps_between_pay_for() -> None:
    runner = ScriptedRunner()
    prompts = [[1 + n] * 240 for n in range(40)]
    async with remembering(runner) as engine:
        before = len(runner.turns)
        for prompt in prompts:
            await generated(engine, prompt)
        early = len(runner.turns) - before - 2 * len(prompts)  # otherwise, one turn reads, and one samples the rest
    assert early == 1 + (len(prompts) - 1) * 241 // CUT_COST


async def test_an_echoed_prompt_is_read_whole_and_known_afterwards() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        for _ in range(2):
            stream = stream_of(5, read=PROMPT, reports_reading=True, alternatives=0)
            engine.submit(stream)
            chunk, _ = await whole(engine, stream)
            assert chunk.ids.tolist() == PROMPT + counted(5)
        assert await steps_to_generate(engine, runner, PROMPT) == 5


async def test_a_score_reads_its_whole_text() -> None:
    async with remembering(ScriptedRunner()) as engine:
        await generated(engine, PROMPT)
        engine.submit(stream := stream_of(0, read=PROMPT, reports_reading=True, alternatives=0))
        chunk, _ = await whole(engine, stream)
    assert content(chunk)[:2] == (PROMPT, [-float(id_) for id_ in PROMPT])


async def test_prompts_that_are_read_together_are_all_known_to_near_their_ends() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        prompts = [[1 + n, *PROMPT[: 700 + 37 * n]] for n in range(8)]
        streams = [stream_of(5, read=prompt) for prompt in prompts]
        for stream in streams:
            engine.submit(stream)
        for stream in streams:
            assert content((await whole(engine, stream))[0]) == content(chunk_of(counted(5)))
        for prompt in prompts:
            assert await steps_to_generate(engine, runner, prompt) <= SPACING + 5


async def test_without_a_cache_every_prompt_is_read_whole() -> None:
    async with remembering(runner := ScriptedRunner()) as engine:
        engine.prefixes.size = 0
        for _ in range(2):
            assert await steps_to_generate(engine, runner, PROMPT) == len(PROMPT) + 5
        assert (engine.prefixes.used, engine.prefixes.hits, engine.prefixes.misses) == (0, 0, 0)
