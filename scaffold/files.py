"""Files of a repository on the disk: whether they are the same, and how one takes another's place.

Nothing here goes through a link, or asks git: what is kept of a file is its bytes and its mode.
"""

import errno
import filecmp
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def files_in(folder: Path) -> list[str]:
    """The files of a project, as sorted relative names."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def alike(folder: Path, other: Path) -> set[str]:
    """The files that two folders have with the same bytes."""
    found = {name for name in files_in(folder) if (other / name).is_file()}
    return {name for name in found if (folder / name).read_bytes() == (other / name).read_bytes()}


def is_there(path: Path) -> bool:
    """Whether there is a plain file or a link."""
    return path.is_symlink() or path.is_file()


def same(path: Path, kept: Path) -> bool:
    """Whether a path has what is kept of it: bytes and executable bit, a link, or nothing."""
    if not is_there(kept):
        return not os.path.lexists(path)
    if not is_there(path) or path.is_symlink() != kept.is_symlink():
        return False
    if path.is_symlink():
        return path.readlink() == kept.readlink()
    can_run = [file.stat().st_mode & 0o100 for file in (path, kept)]
    return can_run[0] == can_run[1] and filecmp.cmp(path, kept, shallow=False)


def holds_only(folder: Path, paths: set[Path]) -> bool:
    """Whether it is a folder, and nothing but these files is in it."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    parents = {parent for path in paths for parent in path.parents}
    return all(child in paths or child in parents for child in folder.rglob("*"))


def replace(target: Path, source: Path, room: Path) -> None:
    """Let the target be as the source, with its mode and time: at once, or not at all.

    room: a folder of ours on the same disk, where nobody else has a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = room / "beside"
    beside.unlink(missing_ok=True)
    shutil.copy2(source, beside, follow_symlinks=False)
    if target.is_dir() and not target.is_symlink():
        target.rmdir()  # an empty one, or this fails
    try:
        beside.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # git's folder can be on another disk
            raise
        with tempfile.TemporaryDirectory(prefix=".scaffold-", dir=target.parent) as folder:
            shutil.copy2(source, Path(folder, "beside"), follow_symlinks=False)
            Path(folder, "beside").replace(target)


def remove(top: Path, path: str) -> None:
    """Remove a file of the repository at top, and the folders that are empty then."""
    if is_there(top / path):
        (top / path).unlink()
    for parent in Path(path).parents[:-1]:
        with suppress(OSError):  # not empty
            (top / parent).rmdir()


def barrier(top: Path, path: str) -> Path | None:
    """What keeps a file of the repository at top from being one of its own.

    A file or a link where a folder must be, or another repository; None where nothing does.
    """
    for parent in reversed([top / parent for parent in Path(path).parents[:-1]]):
        if parent.is_symlink() or parent.is_file() or os.path.lexists(parent / ".git"):
            return parent
    return None
