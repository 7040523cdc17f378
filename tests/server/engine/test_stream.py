"""A stream: each id comes out once, in order, and the end comes last."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from nextchar_model.draws import uniform
from nextchar_server.engine.stream import OUTBOX_BYTES, OUTBOX_IDS, End, IdChunk, Stream, wake
from tests.support.scripted_runner import PATIENCE, chunk_of, content, stream_of

TWENTY = [[(id_, -1.0) for id_ in range(20)]]
"""The alternatives of one id."""


async def next_of(stream: Stream) -> IdChunk | End:
    """Waits for the next chunk, or the end."""
    async with asyncio.timeout(PATIENCE):
        await stream.ready()
    return stream.take()


async def take(stream: Stream) -> Any:
    """Returns what ``content`` makes of the next chunk."""
    return content(await next_of(stream))


async def test_all_gathered_ids_are_taken_together() -> None:
    stream = stream_of(9)
    stream.put(chunk_of([1, 2], [-0.5, -1], [[(1, -0.5)], [(7, -3)]]))
    stream.put(chunk_of([3], [-2], [[(4, -0.25)]]))
    assert await take(stream) == ([1, 2, 3], [-0.5, -1, -2], [[1], [7], [4]], [[-0.5], [-3], [-0.25]])


async def test_taking_waits_for_ids() -> None:
    stream = stream_of(9)
    taking = asyncio.create_task(take(stream))
    await asyncio.sleep(0)
    assert not taking.done()
    stream.put(chunk_of([7]))
    wake([stream])
    assert await taking == content(chunk_of([7]))


async def test_the_end_comes_after_all_ids() -> None:
    stream = stream_of(9)
    stream.put(chunk_of([1]))
    stream.end(End.COUNT)
    assert await take(stream) == content(chunk_of([1]))
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
    stream.put(chunk_of([1]))
    stream.end(ArithmeticError("wrong sum"))
    assert await take(stream) == content(chunk_of([1]))
    with pytest.raises(ArithmeticError, match="wrong sum"):
        await take(stream)


class LateOutbox(list[IdChunk]):
    """An outbox that the lane fills, ending the stream, just after the reader found it empty."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def __bool__(self) -> bool:
        is_filled = len(self) > 0
        if not is_filled and not self.stream.is_over:
            self.stream.put(chunk_of([1, 2, 3]))
            self.stream.end(End.COUNT)
            asyncio.get_running_loop().call_soon(wake, [self.stream])
        return is_filled


async def test_ids_that_come_with_the_end_while_the_reader_looks_are_not_lost() -> None:
    stream = stream_of(3)
    stream._outbox = LateOutbox(stream)
    assert await take(stream) == content(chunk_of([1, 2, 3]))
    assert await take(stream) is End.COUNT


async def test_a_thread_that_puts_and_a_loop_that_takes_lose_nothing() -> None:
    streams = [stream_of(30) for _ in range(200)]
    loop = asyncio.get_running_loop()

    def fill() -> None:
        for stream in streams:
            for id_ in range(30):
                stream.put(chunk_of([id_]))
                if id_ == 29:
                    stream.end(End.COUNT)
                loop.call_soon_threadsafe(wake, [stream])

    thread = threading.Thread(target=fill)
    thread.start()
    for stream in streams:
        ids: list[int] = []
        while isinstance(taken := await next_of(stream), IdChunk):
            ids += taken.ids.tolist()
        assert ids == list(range(30))
    thread.join()


async def test_a_stream_is_full_from_its_bound_until_it_is_read() -> None:
    stream = stream_of(9)
    stream.put(chunk_of([1] * (OUTBOX_IDS - 1)))
    assert not stream.is_full
    stream.put(chunk_of([1]))
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


async def test_log_probabilities_fill_an_outbox_by_their_size() -> None:
    stream = stream_of(9999, alternatives=20)
    one = chunk_of([1], [-1.0], TWENTY)
    while not stream.is_full:
        stream.put(one)
    assert stream._put == OUTBOX_BYTES // 168 < OUTBOX_IDS
    stream.take()
    assert not stream.is_full


async def test_a_take_returns_a_bounded_size_and_leaves_the_rest() -> None:
    stream = stream_of(9999, alternatives=20)
    for id_ in range(5000):
        stream.put(chunk_of([id_], [-1.0], TWENTY))
    stream.end(End.COUNT)
    ids: list[int] = []
    while isinstance(taken := stream.take(), IdChunk):
        assert len(taken) <= OUTBOX_BYTES // 168
        ids += taken.ids.tolist()
    assert ids == list(range(5000))


async def test_a_take_returns_no_more_ids_than_its_stream_says() -> None:
    stream = stream_of(9999, most_taken=10)
    for id_ in range(95):
        stream.put(chunk_of([id_]))
    stream.end(End.COUNT)
    sizes = []
    while isinstance(taken := stream.take(), IdChunk):
        sizes.append(len(taken))
    assert sizes == [10] * 9 + [5]


async def test_a_paced_stream_holds_and_gives_a_portion_of_each_size_that_it_is_told() -> None:
    stream = stream_of(9999)
    for portion in (3, 50, 7):
        stream.pace(portion, is_slowed=False)
        while not stream.is_full:
            stream.put(chunk_of([1]))
        taken = stream.take()
        assert isinstance(taken, IdChunk)
        assert len(taken) == portion


async def test_a_turn_above_the_bound_of_a_take_comes_whole_and_alone() -> None:
    stream = stream_of(9999, most_taken=4)
    for size in (1, 7, 1):
        stream.put(chunk_of([1] * size))
    assert [len(stream.take()) for _ in range(3)] == [1, 7, 1]  # type: ignore[arg-type]


async def test_a_stream_is_ready_once_there_is_something_to_take() -> None:
    stream = stream_of(9)
    waiting = asyncio.create_task(stream.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    stream.end(End.COUNT)
    wake([stream])
    async with asyncio.timeout(PATIENCE):
        await waiting


def test_a_chunk_splits_into_its_first_ids_and_the_rest() -> None:
    chunk = chunk_of([1, 2, 3], [-1, -2, -3], [[(7, -4)], [(8, -5)], [(9, -6)]])
    assert content(chunk[:2]) == ([1, 2], [-1, -2], [[7], [8]], [[-4], [-5]])
    assert content(chunk[2:]) == ([3], [-3], [[9]], [[-6]])
    assert content(IdChunk.join([chunk[:1], chunk[1:]])) == content(chunk)
