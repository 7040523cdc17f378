"""The cores that this process may use, by its affinity and by the CPU quotas of its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST = 4096
"""Most cores that are ever counted, which is also the most lanes."""

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Returns the number of cores: at least 1, whatever the files of the control groups say.

    ``groups`` is the folder on which control groups are mounted; ``membership`` is the file that names those of this
    process. See the kernel's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders(groups, membership):
        quota = _quota(folder)
        if quota is not None:
            cores = min(cores, quota)
    return min(max(cores, 1), MOST)


def _folders(groups: Path, membership: Path) -> Iterator[Path]:
    """Yields the folders that may hold a quota of this process: of its groups and of all groups above them."""
    yield from (groups, groups / "cpu")  # of a container, whose own group is the top, in version 2 and version 1
    with suppress(OSError, ValueError):  # no control groups
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "cpu" in controllers.split(","):
                top = groups / controllers
                group = top / path.lstrip("/")
                while group != top and top in group.parents:
                    yield group
                    group = group.parent


def _quota(folder: Path) -> int | None:
    """Returns the quota of a control group in cores, rounded up; None if it has none, or none that makes sense."""
    with suppress(OSError, ValueError, ArithmeticError):  # no such group or no quota: "max" in version 2
        quota, period = map(int, _quota_and_period(folder))
        if quota > 0 and period > 0:  # -1 is no quota in version 1
            return math.ceil(quota / period)
    return None


def _quota_and_period(folder: Path) -> list[str]:
    if (folder / "cpu.max").exists():
        return (folder / "cpu.max").read_text().split()
    return [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
