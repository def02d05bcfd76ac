"""The files of the tests lie in memory where that has room: they come and go by the thousand.

A disk takes ten times as long for each.
"""

import os
import re
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")  # Linux
NEEDED = 12 * 2**30  # bytes, of which all tests take half


def use() -> None:
    """Let what is temporary be made in memory, unless somebody has said where."""
    if "TMPDIR" not in os.environ and PLACE.is_dir() and has_room():
        os.environ["TMPDIR"] = tempfile.tempdir = str(PLACE)


def has_room() -> bool:
    """Whether programs may be run there, and all files fit."""
    place = os.statvfs(PLACE)
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    room = min(place.f_bavail * place.f_frsize, 1024 * int(available[1]) if available else 0)
    return room > NEEDED and not place.f_flag & os.ST_NOEXEC
