"""A stream: each id comes out once, in order, and the end comes last."""

import asyncio
import threading
from collections import deque

import numpy as np
import pytest

from nextchar_model.draws import uniform
from nextchar_server.engine.stream import OUTBOX_IDS, End, IdChunk, Stream, wake
from tests.support.scripted_runner import PATIENCE, stream_of


async def take(stream: Stream) -> IdChunk | End:
    async with asyncio.timeout(PATIENCE):
        return await stream.take()


async def test_all_gathered_ids_are_taken_together() -> None:
    stream = stream_of(9)
    stream.put(IdChunk([1, 2], [-0.1, -0.2], [[(1, -0.1)], []]))
    stream.put(IdChunk([3], [-0.3], [[(4, -0.4)]]))
    assert await take(stream) == IdChunk([1, 2, 3], [-0.1, -0.2, -0.3], [[(1, -0.1)], [], [(4, -0.4)]])


async def test_taking_waits_for_ids() -> None:
    stream = stream_of(9)
    taking = asyncio.create_task(take(stream))
    await asyncio.sleep(0)
    assert not taking.done()
    stream.put(IdChunk([7]))
    wake([stream])
    assert (await taking) == IdChunk([7])


async def test_the_end_comes_after_all_ids() -> None:
    stream = stream_of(9)
    stream.put(IdChunk([1]))
    stream.end(End.COUNT)
    assert await take(stream) == IdChunk([1])
    assert await take(stream) is End.COUNT


async def test_the_end_stays() -> None:
    stream = stream_of(9)
    stream.end(End.BOUNDARY)
    assert [await take(stream) for _ in range(3)] == [End.BOUNDARY] * 3


async def test_a_stream_ends_once() -> None:
    stream = stream_of(9)
    stream.end(End.BOUNDARY)
    stream.end(End.DRAINED)
    stream.end(RuntimeError())
    assert await take(stream) is End.BOUNDARY


async def test_an_error_is_raised_at_the_reader_after_all_ids() -> None:
    stream = stream_of(9)
    stream.put(IdChunk([1]))
    stream.end(ArithmeticError("wrong sum"))
    assert await take(stream) == IdChunk([1])
    with pytest.raises(ArithmeticError, match="wrong sum"):
        await take(stream)


class LateOutbox(deque[IdChunk]):
    """An outbox that the lane fills, ending the stream, just after the reader found it empty."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def __bool__(self) -> bool:
        is_filled = len(self) > 0
        if not is_filled and not self.stream.is_over:
            self.stream.put(IdChunk([1, 2, 3]))
            self.stream.end(End.COUNT)
            asyncio.get_running_loop().call_soon(wake, [self.stream])
        return is_filled


async def test_ids_that_come_with_the_end_while_the_reader_looks_are_not_lost() -> None:
    stream = stream_of(3)
    stream._outbox = LateOutbox(stream)
    assert await take(stream) == IdChunk([1, 2, 3])
    assert await take(stream) is End.COUNT


async def test_a_thread_that_puts_and_a_loop_that_takes_lose_nothing() -> None:
    streams = [stream_of(30) for _ in range(200)]
    loop = asyncio.get_running_loop()

    def fill() -> None:
        for stream in streams:
            for id_ in range(30):
                stream.put(IdChunk([id_]))
                if id_ == 29:
                    stream.end(End.COUNT)
                loop.call_soon_threadsafe(wake, [stream])

    thread = threading.Thread(target=fill)
    thread.start()
    for stream in streams:
        ids: list[int] = []
        while isinstance(taken := await take(stream), IdChunk):
            ids += taken.ids
        assert ids == list(range(30))
    thread.join()


async def test_a_stream_is_full_from_its_bound_until_it_is_read() -> None:
    stream = stream_of(9)
    stream.put(IdChunk([1] * (OUTBOX_IDS - 1)))
    assert not stream.is_full
    stream.put(IdChunk([1]))
    assert stream.is_full
    await take(stream)
    assert not stream.is_full


@pytest.mark.parametrize("end", [End.COUNT, End.DRAINED, RuntimeError()])
async def test_a_stream_that_ended_is_over(end: End | Exception) -> None:
    stream = stream_of(9)
    assert not stream.is_over
    stream.end(end)
    assert stream.is_over


async def test_the_steps_left_are_those_to_read_and_those_to_sample() -> None:
    stream = stream_of(10, read=[5, 6, 7])
    assert (stream.left, stream.left_to_read, stream.awaits_first) == (13, 3, True)
    stream.read_count = 3
    assert (stream.left, stream.left_to_read, stream.awaits_first) == (10, 0, True)
    stream.sampled_count = 4
    assert (stream.left, stream.left_to_read, stream.awaits_first) == (6, 0, False)


async def test_nobody_awaits_the_first_id_of_a_text_that_is_only_scored() -> None:
    assert not stream_of(0, read=[5, 6, 7]).awaits_first


@pytest.mark.parametrize("size", [1, 7, 256, 1023, 1500])
async def test_random_numbers_depend_on_seed_and_position_however_they_are_drawn(size: int) -> None:
    stream = stream_of(5000, seed=2**64 - 1)
    drawn = []
    while stream.sampled_count < 5000:
        drawn.append(stream.draws(size))
        stream.sampled_count += size
    assert np.concatenate(drawn)[:5000].tolist() == uniform(2**64 - 1, 0, 5000).tolist()


async def test_drawing_again_at_a_position_returns_the_same_numbers() -> None:
    stream = stream_of(5000, seed=3)
    first = stream.draws(1000).tolist()
    stream.sampled_count = 900
    stream.draws(600)
    stream.sampled_count = 1000
    assert stream.draws(5).tolist() == uniform(3, 1000, 5).tolist()
    assert first == uniform(3, 0, 1000).tolist()


def test_a_chunk_splits_into_its_first_ids_and_the_rest() -> None:
    chunk = IdChunk([1, 2, 3], [-1.0, -2.0, -3.0], [[], [], []])
    assert chunk.split(2) == (IdChunk([1, 2], [-1.0, -2.0], [[], []]), IdChunk([3], [-3.0], [[]]))
    assert chunk.split(5) == (chunk, IdChunk())
    assert chunk.split(0) == (IdChunk(), chunk)
