"""The shares of workers: every core once, no share empty, and no cores bound that others may be bound to."""

import pytest

from nextchar_server.shares import MOST_LANES, Share, default_lanes, default_workers, shares


@pytest.mark.parametrize(
    ("cores", "workers", "lanes"),
    [
        (1, 1, (1,)),
        (2, 1, (2,)),
        (3, 2, (2, 1)),
        (4, 2, (2, 2)),
        (5, 3, (2, 2, 1)),
        (6, 3, (2, 2, 2)),
        (8, 4, (2,) * 4),
        (12, 6, (2,) * 6),
        (16, 8, (2,) * 8),
        (32, 16, (2,) * 16),
        (48, 24, (2,) * 24),
        (63, 32, (2,) * 31 + (1,)),
        (64, 32, (2,) * 32),
    ],
)
def test_auto_makes_a_worker_for_every_two_cores(cores: int, workers: int, lanes: tuple[int, ...]) -> None:
    assert default_workers(cores) == workers
    assert tuple(share.lanes for share in shares(workers, cores, range(cores))) == lanes


@pytest.mark.parametrize("cores", range(1, 65))
@pytest.mark.parametrize("workers", [None, 1, 2, 3, 7, 64])
def test_every_core_belongs_to_one_worker_and_shares_are_even(cores: int, workers: int | None) -> None:
    parts = shares(workers or default_workers(cores), cores, range(cores))
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
