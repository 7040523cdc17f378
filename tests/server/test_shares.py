"""The shares of workers: every core once, no share empty, and no cores bound that others may be bound to."""

import pytest

from nextchar_server.shares import MOST_LANES, Share, default_lanes, default_workers, shares

PLENTY = 2**40


@pytest.mark.parametrize("cores", [1, 2, 3, 16, 63, 64])
def test_auto_makes_a_worker_of_one_lane_per_core(cores: int) -> None:
    assert default_workers(cores, PLENTY) == cores
    assert [share.lanes for share in shares(cores, cores, range(cores))] == [1] * cores


@pytest.mark.parametrize(
    ("gib", "models_gib", "workers"),
    [(-0.1, 0, 1), (0.1, 0, 1), (0.5, 0, 2), (1, 0, 5), (2, 0, 10), (4, 0, 16), (4, 1, 1), (64, 1, 15)],
)
def test_auto_makes_as_many_workers_as_have_room(gib: float, models_gib: float, workers: int) -> None:
    assert default_workers(16, int(gib * 2**30), int(models_gib * 2**30)) == workers


@pytest.mark.parametrize(("workers", "lanes"), [(2, (2, 1)), (3, (1, 1, 1))])
def test_fewer_workers_than_cores_have_several_lanes(workers: int, lanes: tuple[int, ...]) -> None:
    assert tuple(share.lanes for share in shares(workers, 3, range(3))) == lanes


@pytest.mark.parametrize("cores", range(1, 65))
@pytest.mark.parametrize("workers", [None, 1, 2, 3, 7, 64])
def test_every_core_belongs_to_one_worker_and_shares_are_even(cores: int, workers: int | None) -> None:
    parts = shares(workers or default_workers(cores, PLENTY), cores, range(cores))
    bound = [core for part in parts for core in part.cores]
    assert all(1 <= part.lanes <= MOST_LANES for part in parts)
    if len(parts) > cores:
        assert bound == []
    else:
        assert bound == list(range(cores))
        assert max(len(part.cores) for part in parts) - min(len(part.cores) for part in parts) <= 1


def test_workers_are_bound_within_the_affinity() -> None:
    assert shares(2, 3, {9, 2, 5}) == (Share(2, (2, 5)), Share(1, (9,)))


def test_under_a_quota_lanes_follow_it_and_no_worker_is_bound() -> None:
    assert shares(2, 4, range(64)) == (Share(2), Share(2))
    assert shares(3, 4, range(64)) == (Share(2), Share(1), Share(1))


@pytest.mark.parametrize(("cores", "lanes"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_one_process_has_no_more_lanes_than_it_can_feed(cores: int, lanes: int) -> None:
    assert default_lanes(cores) == lanes
