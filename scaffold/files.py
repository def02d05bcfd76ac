"""Files of a repository on the disk: whether they are the same, and how one takes another's place.

Nothing here goes through a link, or asks git: what is kept of a file is its bytes and its mode.
"""

import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether there is a file or a link; a folder is none."""
    return path.is_symlink() or path.is_file()


def same(path: Path, kept: Path) -> bool:
    """Whether a path has the bytes or the link that is kept of it; nothing, where no file is."""
    if not is_there(kept):
        return not os.path.lexists(path)
    if not is_there(path) or path.is_symlink() != kept.is_symlink():
        return False
    if path.is_symlink():
        return path.readlink() == kept.readlink()
    return filecmp.cmp(path, kept, shallow=False)


def holds_only(folder: Path, paths: set[Path]) -> bool:
    """Whether it is a folder, and no other files than these are in it."""
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and all(child in paths or not is_there(child) for child in folder.rglob("*"))
    )


def copy(source: Path, target: Path) -> None:
    """Let the target be as the source, with its mode and time: at once, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name[:100]}.scaffold")
    try:
        shutil.copy2(source, beside, follow_symlinks=False)
        if target.is_dir() and not target.is_symlink():
            target.rmdir()  # an empty one, or this fails
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def remove(top: Path, path: str) -> None:
    """Remove a file of the repository at top, and the folders that are empty then."""
    with suppress(FileNotFoundError, NotADirectoryError):
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
