"""The cores that this process may use, by its affinity and by the CPU quotas of its control groups."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from .control_groups import GROUPS, MEMBERSHIP, folders

MOST = 4096
"""Most cores that are ever counted, which is also the most lanes."""


def usable(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Returns the number of cores: at least 1, whatever the files of the control groups say.

    ``groups`` and ``membership`` are as in ``control_groups.folders``. See the kernel's
    Documentation/scheduler/sched-bwc.rst.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in folders(groups, membership, "cpu"):
        quota = _quota(folder)
        if quota is not None:
            cores = min(cores, quota)
    return min(max(cores, 1), MOST)


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
