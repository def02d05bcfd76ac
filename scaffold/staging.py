"""A folder beside a target in which a project is made; it goes with its process, or with the next.

It holds a locked file. A lock ends with its process, also with a killed one: what that one leaves
is known by its name, its owner and its file, and by the lock that nobody has any more.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError

PREFIX, LOCK = ".scaffold-new-", "scaffold.lock"
NAME = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{16}}\Z")
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A folder in the parent, absolute, that is gone afterwards; what killed runs left goes first.

    Raises ScaffoldError where the disk is full or somebody removes the folder meanwhile.
    """
    parent = parent.absolute()
    sweep(parent)
    with told_if_full(parent), _claimed(parent) as folder:
        yield folder


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Raise ScaffoldError where the disk of this folder is full, on which nothing was changed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        remedy = "nothing was changed; free some and run it again"
        raise ScaffoldError(f"no space is left in `{folder}`", remedy, FAILURE) from error


@contextmanager
def _claimed(parent: Path) -> Iterator[Path]:
    folder, lock = _claim(parent)
    # held open, so that its number is not given to a folder that is made after its end
    opened = os.open(parent, getattr(os, "O_PATH", os.O_RDONLY))
    try:
        yield folder
    except Exception:
        check_there(folder)
        raise
    finally:
        _empty(folder)
        os.close(lock)  # before its file goes: NFS keeps the file of what is open
        shutil.rmtree(folder, ignore_errors=True)
        # copier makes the folders that it misses, so also a parent that was removed meanwhile
        with suppress(OSError):
            if not os.path.samestat(os.fstat(opened), parent.stat()):
                parent.rmdir()
        os.close(opened)


def check_there(folder: Path) -> None:
    """Raise ScaffoldError where somebody removed the folder, even if copier made it again."""
    if not (folder / LOCK).exists():
        remedy = "run it again, or choose another path"
        raise ScaffoldError(f"`{folder.parent}` was removed meanwhile", remedy, PRECONDITION)


def _claim(parent: Path) -> tuple[Path, int]:
    """A new folder and its locked file; another one where a sweep came before the lock."""
    while True:
        folder = parent / f"{PREFIX}{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            continue
        except OSError:
            folder.rmdir()
            raise
        # where the file system has no locks (None), nobody sweeps
        if _lock(lock) is not False and os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)


def _lock(file: int) -> bool | None:
    """True if the lock is ours now, False if another process has it, None where there is none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(parent: Path) -> None:
    """Remove what killed runs left in a folder, and nothing that is not surely theirs."""
    for folder in parent.glob(f"{PREFIX}*"):
        # another run may sweep the same; what cannot be removed waits for the next one
        with suppress(OSError):
            _sweep(folder)


def _sweep(folder: Path) -> None:
    state = folder.lstat()
    if not (
        NAME.match(folder.name) and stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
    ):
        return
    if not any(folder.iterdir()):
        folder.rmdir()  # killed before it had its file; a run that is alive takes another one
        return
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if _lock(lock):
            _empty(folder)
            shutil.rmtree(folder)
    finally:
        os.close(lock)


def _empty(folder: Path) -> None:
    """Remove all but the lock: until it goes as the last, the rest can still be swept."""
    with suppress(FileNotFoundError):  # somebody removed the folder
        for path in folder.iterdir():
            if path.name != LOCK:
                shutil.rmtree(path, ignore_errors=True)
