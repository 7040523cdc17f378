"""The control groups of this process: the folders in which Linux keeps the limits of its cores and its memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""The folder on which control groups are mounted."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""The file that names those of this process."""


def folders(groups: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yields the folders that may hold a limit of ``controller`` for this process: of its groups and all above them.

    See the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cgroups.rst.
    """
    # Those of a container, whose own group is the top, in version 2 and version 1.
    yield from (groups, groups / controller)
    with suppress(OSError, ValueError):  # no control groups
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                top = groups / controllers
                group = top / path.lstrip("/")
                while group != top and top in group.parents:
                    yield group
                    group = group.parent
