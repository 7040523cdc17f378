"""Heavy pieces of work on the event loop: one at a time, in order, and followed by a pause."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from nextchar_server.pacing import PAUSE, Pacer, Steps


class ScriptedClock:
    """A clock of processor time that advances by ``cost`` during each piece."""

    def __init__(self, cost: float) -> None:
        self._times = self._count(cost)

    @staticmethod
    def _count(cost: float) -> Iterator[float]:
        now = 0.0
        while True:
            yield now  # a piece begins
            now += cost
            yield now  # it ends

    def __call__(self) -> float:
        return next(self._times)


async def test_pieces_run_in_the_order_in_which_they_were_asked_for() -> None:
    pacer, order = Pacer(), []

    async def work(number: int) -> None:
        async with pacer.piece():
            order.append(number)

    await asyncio.gather(*map(work, range(20)))
    assert order == list(range(20))


async def test_the_loop_turns_between_two_pieces() -> None:
    pacer, seen = Pacer(), []

    async def work() -> None:
        for _ in range(3):
            async with pacer.piece():
                seen.append("piece")

    async def others() -> None:
        while seen.count("piece") < 3:
            seen.append("others")
            await asyncio.sleep(0)

    await asyncio.gather(work(), others())
    pieces = [place for place, what in enumerate(seen) if what == "piece"]
    assert all("others" in seen[one:next_] for one, next_ in pairwise(pieces))


async def test_a_pause_of_three_times_its_cost_follows_a_piece() -> None:
    loop, cost = asyncio.get_running_loop(), 0.004
    pacer = Pacer(clock=ScriptedClock(cost))
    async with pacer.piece():
        ended = loop.time()
    async with pacer.piece():
        assert loop.time() >= ended + PAUSE * cost - 0.001


async def test_the_pause_counts_what_a_piece_has_cost_elsewhere() -> None:
    loop = asyncio.get_running_loop()
    pacer = Pacer(clock=ScriptedClock(0.0))
    began = loop.time()
    for _ in range(2):
        async with pacer.piece(spent=0.004):
            pass
    assert loop.time() - began >= PAUSE * 0.004


async def test_the_steps_of_a_work_after_the_first_are_pieces() -> None:
    pacer, paced = Pacer(), []

    def steps() -> Steps[str]:
        for _ in range(3):
            paced.append(pacer._turn.locked())
            yield
        return "done"

    assert await pacer.run(steps()) == "done"
    assert paced == [False, True, True]


async def test_pauses_too_short_for_a_timer_are_owed_until_they_are_not() -> None:
    loop, cost, pieces = asyncio.get_running_loop(), 0.0001, 100
    pacer = Pacer(clock=ScriptedClock(cost))
    began = loop.time()
    for _ in range(pieces):
        async with pacer.piece():
            pass
    assert loop.time() >= began + PAUSE * cost * (pieces - 1) - 0.002


async def test_a_piece_that_fails_is_paid_for_and_lets_the_next_one_run() -> None:
    pacer = Pacer()
    with pytest.raises(ValueError, match="bad request"):
        async with pacer.piece():
            raise ValueError("bad request")
    async with asyncio.timeout(60), pacer.piece():
        pass


async def test_a_caller_that_leaves_while_it_waits_lets_the_others_run() -> None:
    pacer, done = Pacer(clock=ScriptedClock(0.01)), []

    async def work(number: int) -> None:
        async with pacer.piece():
            done.append(number)

    first, leaving, last = (asyncio.create_task(work(number)) for number in range(3))
    await first
    leaving.cancel()
    async with asyncio.timeout(60):
        await last
    assert done == [0, 2]
