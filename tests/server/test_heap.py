"""The heap: freed memory goes back to the operating system."""

import asyncio
from unittest.mock import patch

import pytest

from nextchar_server import heap
from nextchar_server.heap import LEAST, Heap


class Trims:
    """Counts trims, and lets a test wait for one."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self.came = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._loop.call_soon_threadsafe(self.came.set)


async def test_calls_that_end_together_cause_one_trim() -> None:
    trims = Trims()
    with patch.object(heap, "PAUSE", 0.01):
        one = Heap(trims)
        for used in range(10 * LEAST, -1, -LEAST // 4):
            one.hold(used)
        await trims.came.wait()
    assert trims.count == 1


@pytest.mark.parametrize("freed", [0, LEAST - 1])
async def test_little_memory_is_not_worth_a_trim(freed: int) -> None:
    one = Heap(Trims())
    one.hold(LEAST)
    one.hold(LEAST - freed)
    assert not one._pending


async def test_memory_that_is_freed_after_a_trim_causes_another() -> None:
    trims = Trims()
    with patch.object(heap, "PAUSE", 0.01):
        one = Heap(trims)
        for _ in range(2):
            trims.came.clear()
            one.hold(2 * LEAST)
            one.hold(0)
            await trims.came.wait()
    assert trims.count == 2


def test_the_trim_of_this_system_can_be_called() -> None:
    heap._trim_of_libc()()
