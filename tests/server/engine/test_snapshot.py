"""Snapshots of streams, and trails: the state after any id follows from them."""

import numpy as np
import pytest

from nextchar_server.engine.snapshot import SNAPSHOT_IDS, Snapshot, Snapshots, Trail
from nextchar_server.engine.stream import End, IdChunk
from tests.support.scripted_runner import MANY_STEPS, ONE_STEP, ScriptedRunner, counted, running, stream_of, take, whole


def snapshot(consumed: int) -> Snapshot:
    """Returns a snapshot that knows only its place."""
    nothing = np.zeros((1, 1), np.float32)
    return Snapshot(consumed, consumed, 0, nothing, nothing)


@pytest.mark.parametrize("turn_budget", [ONE_STEP, MANY_STEPS])
async def test_a_stream_continues_from_each_of_its_snapshots(turn_budget: float) -> None:
    async with running(ScriptedRunner(), turn_budget=turn_budget, min_steps=7) as engine:
        engine.submit(first := stream_of(300, read=[9] * 100, most_snapshots=100, seed=3, alternatives=0))
        chunk, _ = await whole(engine, first)
        assert len(first.snapshots) >= 1
        for one in first.snapshots:
            sampled = one.consumed - 100
            if sampled < 0:
                continue
            rest = stream_of(300 - sampled, start=one, position=sampled, seed=3, alternatives=0)
            engine.submit(rest)
            continued, end = await whole(engine, rest)
            assert chunk.logprobs is not None
            assert continued.logprobs is not None
            assert continued.ids.tolist() == chunk.ids[sampled:].tolist()
            assert continued.logprobs.tolist() == chunk.logprobs[sampled:].tolist()
            assert end is End.COUNT


async def test_snapshots_are_no_further_apart_than_their_spacing_and_a_turn() -> None:
    async with running(ScriptedRunner(), turn_budget=ONE_STEP, min_steps=16) as engine:
        engine.submit(stream := stream_of(500, read=[9] * 200, most_snapshots=100))
        await whole(engine, stream)
    places = [0, *(one.consumed for one in stream.snapshots)]
    assert max(np.diff(places)) <= SNAPSHOT_IDS + 16
    assert places[-1] > 700 - SNAPSHOT_IDS - 16


async def test_a_stream_that_keeps_no_snapshots_has_none() -> None:
    async with running(ScriptedRunner(), turn_budget=ONE_STEP, min_steps=16) as engine:
        engine.submit(stream := stream_of(500))
        await whole(engine, stream)
    assert not stream.snapshots


async def test_the_last_ids_that_are_read_come_out_if_the_stream_reports_them() -> None:
    async with running(ScriptedRunner()) as engine:
        engine.submit(stream := stream_of(3, read=[7, 8, 9], reports_last=1))
        chunk, _ = await whole(engine, stream)
        assert chunk.ids.tolist() == [9, *counted(3)]


def test_a_trail_has_the_ids_from_its_latest_snapshot_on() -> None:
    trail = Trail(snapshot(0), np.array([5, 6], np.int64))
    trail.add(np.array([1, 2, 3], np.int32))
    trail.add(np.array([4], np.int32))
    coming = [snapshot(1), snapshot(3), snapshot(5)]
    for place, consumed, ids in ((2, 1, [6]), (4, 3, [2]), (6, 5, [4])):
        trail.move(coming, place)
        latest, since = trail.until(place)
        assert (latest.consumed, since.tolist()) == (consumed, ids)


def test_the_oldest_snapshot_gives_way_to_a_new_one() -> None:
    kept = Snapshots(2)
    for consumed in range(4):
        kept.add(snapshot(consumed))
    assert [one.consumed for one in kept] == [2, 3]


async def test_the_ids_of_a_reader_that_is_late_are_in_its_trail() -> None:
    async with running(ScriptedRunner(), turn_budget=MANY_STEPS) as engine:
        engine.submit(stream := stream_of(3000, most_snapshots=2))
        trail, place = Trail(engine.document_start, stream.read), 0
        while isinstance(taken := await take(engine, stream), IdChunk):
            place += len(taken)
            trail.add(taken.ids)
            trail.move(stream.snapshots, place)
            latest, since = trail.until(place)
            assert latest.consumed + len(since) == place
            assert since.tolist() == counted(place)[latest.consumed :]
        engine.release(stream)
