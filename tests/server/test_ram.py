"""The memory that may be used: the machine's, or the smallest limit of a control group that makes sense."""

import os
from pathlib import Path

import pytest

from nextchar_server import ram

ALL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MIB = 2**20


def usable(tmp_path: Path, files: dict[str, str], membership: str = "0::/\n") -> int:
    """Returns the memory of a machine whose control groups hold ``files``."""
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "membership").write_text(membership)
    return ram.usable(tmp_path / "cgroup", tmp_path / "membership")


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert ram.usable(tmp_path / "none", tmp_path / "none") == ALL


@pytest.mark.parametrize("content", ["max\n", "", "0\n", "-1\n", "1 2\n", "all\n", "9223372036854771712\n"])
def test_a_limit_that_makes_no_sense_or_means_no_limit_leaves_the_machine(content: str, tmp_path: Path) -> None:
    assert usable(tmp_path, {"memory.max": content, "memory/memory.limit_in_bytes": content}) == ALL


def test_limits_of_both_versions_count(tmp_path: Path) -> None:
    assert usable(tmp_path / "2", {"memory.max": f"{64 * MIB}\n"}) == 64 * MIB
    assert usable(tmp_path / "1", {"memory/memory.limit_in_bytes": f"{32 * MIB}\n"}) == 32 * MIB


def test_the_smallest_limit_on_the_way_to_the_top_counts(tmp_path: Path) -> None:
    files = {"memory.max": "max\n", "a/memory.max": f"{16 * MIB}\n", "a/b/memory.max": f"{48 * MIB}\n"}
    assert usable(tmp_path, files, "0::/a/b\n") == 16 * MIB
