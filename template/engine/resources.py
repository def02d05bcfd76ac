"""What this process may use, perhaps a part of the machine alone, and has used."""

import errno
import os
import shutil
import sys
from pathlib import Path

import torch

GROUPS = Path("/sys/fs/cgroup")  # Linux


def cores(groups: Path = GROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that this process may run on, at most as many as its cgroups have time for."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS or Windows
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, int(min([allowed, *quotas(groups, membership)])))


def quotas(groups: Path, membership: Path) -> list[float]:
    """Seconds of computing per second that this process's cgroups and those above them allow.

    membership: lines of `number:controllers:path`; the path is one of the host where a container
    sees its own group at the top. https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    found: list[float] = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / controllers  # version 2 has no controllers here
        inside = top / path.lstrip("/")
        for group in (inside, *inside.parents):
            found += limits(group)
            if group == top:
                break
    return found


def limits(group: Path) -> list[float]:
    """What one cgroup allows; none where it says nothing."""
    names = [("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")]  # versions 2 and 1
    for files in names:
        try:
            quota, period = " ".join((group / name).read_text() for name in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return [int(quota) / int(period)]
    return []


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has had so far, in MiB: the GPU's, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def disk(path: Path, error: BaseException | None = None) -> str:
    """The disk on which a path is, or would be, and how full it is; or what the error means."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "which `ulimit -f` limits, or the file system"
    try:
        place = path.resolve()
        while not os.path.ismount(place):
            place = place.parent
        total, _, free = shutil.disk_usage(place)
        names = os.statvfs(place)  # some file systems have no limit of files, and say 0
    except OSError as silent:  # it does not answer any more
        return f"disk of `{path}` ({silent.strerror})"
    files = ", but no inodes" if names.f_files and not names.f_favail else ""
    return f"disk `{place}` ({free / 2**20:,.1f} of {total / 2**20:,.1f} MiB free{files})"


def threads_are_set() -> bool:
    """Whether the user has set OMP_NUM_THREADS. torchrun gives its ranks a 1 of its own."""
    name = "OMP_NUM_THREADS"
    try:
        launcher = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:  # not Linux
        return name in os.environ
    return name in os.environ and (
        "TORCHELASTIC_RUN_ID" not in os.environ or name.encode() in launcher
    )
