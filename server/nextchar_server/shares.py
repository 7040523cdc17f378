"""Shares: how the cores of a machine are divided among workers and their lanes. Pure arithmetic.

``workers`` starts a process for each share; a server of one process asks only for its lanes.

Invariant: every usable core belongs to one share, sizes differ by one core at most, and a worker is bound to cores only
if the whole machine, or the whole affinity, is the server's. Under a quota all containers of a machine see all its
cores, and would be bound to the same few.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

CORES = 2
"""Cores of a worker that ``auto`` makes. docs/performance.md, "Many cores", has the measured shares: per core that it
keeps busy, a process holds the interpreter's lock for about a third, so with two cores the lock is held two thirds of
the time, and with three it is full."""

MOST_LANES = 4
"""Lanes of a worker unless ``--lanes`` says otherwise: more than the lock can feed add only their cost."""

MOST_WORKERS = 256


@dataclass(frozen=True)
class Share:
    """The part of one worker."""

    lanes: int
    """Its lanes by default."""
    cores: tuple[int, ...] = ()
    """Cores to which it is bound; none: it runs on any."""


def default_lanes(cores: int) -> int:
    """Returns the lanes of a process that has ``cores`` cores."""
    return max(1, min(cores, MOST_LANES))


def default_workers(cores: int) -> int:
    """Returns the number of workers that ``auto`` means on ``cores`` cores: 1 on one or two."""
    return min(-(-cores // CORES), MOST_WORKERS)


def shares(workers: int, usable: int, affinity: Collection[int]) -> tuple[Share, ...]:
    """Returns the share of each of ``workers`` workers.

    ``usable`` is the number of cores by affinity and quotas, and ``affinity`` has the numbers of the cores on which the
    process may run.
    """
    sizes = [usable // workers + (place < usable % workers) for place in range(workers)]
    if min(sizes) == 0 or usable < len(affinity):
        return tuple(Share(default_lanes(size)) for size in sizes)
    numbers = iter(sorted(affinity))
    return tuple(Share(default_lanes(size), tuple(next(numbers) for _ in range(size))) for size in sizes)
