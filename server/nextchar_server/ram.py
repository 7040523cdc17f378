"""The memory that this process may use, by the size of the machine and by the limits of its control groups."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .control_groups import GROUPS, MEMBERSHIP, folders

_FILES = ("memory.max", "memory.limit_in_bytes")  # of version 2 and version 1


def usable(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Returns the number of bytes, of which others may use a part already.

    ``groups`` and ``membership`` are as in ``control_groups.folders``.
    """
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_limit(folder / name) for folder in folders(groups, membership, "memory") for name in _FILES)
    return min([size, *(limit for limit in limits if limit is not None)])


def _limit(file: Path) -> int | None:
    """Returns the limit in ``file``; None without one that makes sense."""
    with suppress(OSError, ValueError):  # no such file or no limit: "max" in version 2
        limit = int(file.read_text())
        if limit > 0:
            return limit
    return None
