"""Shares: how the cores of a machine are divided among workers and their lanes. Pure arithmetic.

``workers`` starts a process for each share; a server of one process asks only for its lanes.

Invariant: every usable core belongs to one share, sizes differ by one core at most, and a worker is bound to cores only
if the whole machine, or the whole affinity, is the server's. Under a quota all containers of a machine see all its
cores, and would be bound to the same few.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

WORKER_BYTES = 130 * 2**20
"""Memory of a worker with the packaged model, under load, without its parts of the memory budget and the cache."""

MODEL_COPIES = 3
"""How often the bytes of a model file are in a worker's memory: as they are, and arranged for the kernel."""

SUPERVISOR_BYTES = 50 * 2**20
"""Memory of the supervisor of several workers."""

LEAST_BUDGET = 16
"""MiB of the memory budget that a worker has at least."""

ROOM = 3 / 4
"""Part of the memory that ``auto`` gives to workers. The rest is the system's."""

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


def default_workers(cores: int, memory: int, models: int = 0) -> int:
    """Returns the number of workers that ``auto`` means on ``cores`` cores: one per core, if they have room.

    ``memory`` is the number of bytes that the workers may use beside the parts that they divide, and ``models`` that of
    the model files.
    """
    room = int(ROOM * memory / (WORKER_BYTES + MODEL_COPIES * models + LEAST_BUDGET * 2**20))
    return max(1, min(cores, room, MOST_WORKERS))


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
