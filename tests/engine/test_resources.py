"""A process counts the cores that it may use, and not those of its machine."""

import os
import sys
from pathlib import Path

import pytest

from conftest import MODULES, run
from engine.resources import cores, disk
from probe import disk_at


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.")).write_text(f"{text}\n")


def counted(folder: Path, membership: str) -> int:
    (folder / "membership").write_text(membership)
    return cores(folder / "groups", folder / "membership")


def test_cores_that_are_taken_away_are_not_counted() -> None:
    one = min(os.sched_getaffinity(0))
    code = "from engine.resources import cores; print(cores())"
    words = ["taskset", "-c", str(one), sys.executable, "-c", code]
    assert run(words, MODULES / "digits").out == "1\n"


@pytest.mark.parametrize(
    ("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)]
)
def test_the_time_of_a_cgroup_is_counted(quota: str, expected: int | None, tmp_path: Path) -> None:
    """Version 2: that of the group itself, or of one above it."""
    found = expected or len(os.sched_getaffinity(0))
    write(tmp_path / "groups/job/step", cpu_max=quota)
    assert counted(tmp_path, "0::/job/step\n") == found
    assert counted(tmp_path, "0::/job/step/task\n") == found
    assert counted(tmp_path, "0::/other\n") == len(os.sched_getaffinity(0))


def test_the_time_of_a_cgroup_of_version_1_is_counted_in_a_container_too(tmp_path: Path) -> None:
    """Where its own group is the top, whatever the path on the host."""
    group = tmp_path / "groups/cpu,cpuacct"
    write(group, cpu_cfs_quota_us="100000", cpu_cfs_period_us="100000")
    memory = "4:memory:/docker/1\n"
    assert counted(tmp_path, f"{memory}3:cpu,cpuacct:/docker/1\n0::/\n") == 1
    write(group, cpu_cfs_quota_us="-1")
    everything = len(os.sched_getaffinity(0))
    assert counted(tmp_path, f"{memory}3:cpu,cpuacct:/docker/1\n0::/\n") == everything
    assert counted(tmp_path, "rubbish:") == everything


def test_a_disk_without_an_inode_left_is_not_told_to_be_empty(tmp_path: Path) -> None:
    with disk_at(tmp_path / "disk", "size=1m,nr_inodes=2") as folder:
        assert disk(folder).endswith("MiB free)")
        (folder / "file").touch()
        assert disk(folder).endswith("MiB free, but no inodes)")
