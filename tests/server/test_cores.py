"""The number of cores: by affinity and by quotas, and at least 1 whatever the files of the control groups say."""

import os
from pathlib import Path

import pytest

from nextchar_server import cores

ALL = 8


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(ALL)), raising=False)


def usable(tmp_path: Path, files: dict[str, str], membership: str = "0::/\n") -> int:
    """Returns the number of cores in a machine whose control groups hold ``files``."""
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "membership").write_text(membership)
    return cores.usable(tmp_path / "cgroup", tmp_path / "membership")


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert cores.usable(tmp_path / "none", tmp_path / "none") == ALL


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("6400000 100000\n", ALL),
        ("max 100000\n", ALL),
        # Files as no kernel writes them.
        ("", ALL),
        ("max\n", ALL),
        ("0 100000\n", ALL),
        ("-1 100000\n", ALL),
        ("100000 0\n", ALL),
        ("1 2 3\n", ALL),
        ("\udcff\udcfe", ALL),
        (f"{'9' * 400} 1\n", ALL),
        (f"{'9' * 5000} 1\n", ALL),
    ],
)
def test_a_quota_of_version_2_counts_if_it_makes_sense(content: str, expected: int, tmp_path: Path) -> None:
    assert usable(tmp_path, {"cpu.max": content}) == expected


def test_a_quota_of_version_1_counts(tmp_path: Path) -> None:
    assert usable(tmp_path, {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}) == 3


def test_no_quota_of_version_1_is_minus_1(tmp_path: Path) -> None:
    assert usable(tmp_path, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}) == ALL


def test_the_quota_of_a_service_of_systemd_counts(tmp_path: Path) -> None:
    files = {"system.slice/nextchar.service/cpu.max": "200000 100000\n"}
    assert usable(tmp_path, files, "0::/system.slice/nextchar.service\n") == 2


def test_the_smallest_quota_on_the_way_to_the_top_counts(tmp_path: Path) -> None:
    files = {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}
    assert usable(tmp_path, files, "0::/a/b\n") == 1


def test_the_group_of_version_1_that_has_the_processor_counts(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}
    assert usable(tmp_path, files, "5:memory:/b\n4:cpu,cpuacct:/a\n") == 2


@pytest.mark.parametrize("membership", ["", "nonsense\n", "0::/../../etc\n", "0::\n", ":::\n"])
def test_an_odd_membership_changes_nothing(membership: str, tmp_path: Path) -> None:
    assert usable(tmp_path, {"cpu.max": "200000 100000\n"}, membership) == 2


def test_there_are_never_more_lanes_than_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(10_000)))
    assert usable(tmp_path, {}) == cores.MOST
