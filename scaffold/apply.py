"""Puts what was merged in a copy into the project itself: these files and no others.

Nothing is written where somebody's work could be lost by it, and all that is written is noted, so
that it can be taken back.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from scaffold import undo
from scaffold.changes import Change
from scaffold.copy import Copy
from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError
from scaffold.files import Entries, set_files, set_index
from scaffold.git import AGAIN, ask
from scaffold.names import printable
from scaffold.place import Place
from scaffold.ready import ready
from scaffold.signals import end_if_signalled

LOCK = "scaffold-move.lock"


def apply(place: Place, copy: Copy, found: list[Change], message: str) -> None:
    """Stage what was merged in the copy, and write the files, those with conflicts too.

    Raises ScaffoldError; then nothing was changed, or the error says how to go back.
    """
    if not found:
        return
    end_if_signalled()
    with _alone(place):
        check(place, found)
        before, after = (
            {place.prefix + change.name: getattr(change, side) for change in found}
            for side in ("before", "after")
        )
        undo.begin(place, message, before, after)
        try:
            set_index(place, after)
        except BaseException:  # all or nothing
            undo.forget(place)
            raise
        try:
            set_files(place, after)
            _write_conflicts(place, copy, found)
        except (ScaffoldError, OSError) as error:
            _put_back(place, before, error)
        undo.done(place)


def check(place: Place, found: list[Change]) -> None:
    """Raise ScaffoldError where a file is not as the last commit has it, or not kept by git."""
    if ready(place.root) != place:
        raise ScaffoldError("the repository was changed meanwhile", AGAIN, PRECONDITION)
    if not found:
        return
    literal = {"GIT_LITERAL_PATHSPECS": "1"}
    paths = [place.prefix + change.name for change in found]
    flags = ask(place.top, "ls-files", "-v", "-z", "--", *paths, **literal).split("\0")
    hidden = [flag[2:] for flag in flags if flag[:1].islower() or flag[:1] == "S"]
    if hidden:
        fact = f"git does not look at {_shown(place, hidden)} (assume-unchanged or sparse)"
        remedy = "git update-index --no-assume-unchanged, or git sparse-checkout disable"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    added = [place.prefix + change.name for change in found if not change.before]
    there = [path for path in added if _is_taken(place, path)]
    if there:
        fact = f"git does not keep what lies at {_shown(place, there)} and would be overwritten"
        remedy = "move it elsewhere; then run it again"
        raise ScaffoldError(fact, remedy, PRECONDITION)


def _is_taken(place: Place, path: str) -> bool:
    """Whether a file lies at a path, or something that is no folder lies in its way."""
    parents = [place.top / parent for parent in Path(path).parents[:-1]]
    return os.path.lexists(place.top / path) or any(
        os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir())
        for parent in parents
    )


def _shown(place: Place, paths: list[str]) -> str:
    names = [f"`{printable(place.name(path))}`" for path in sorted(paths)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _write_conflicts(place: Place, copy: Copy, found: list[Change]) -> None:
    """Write the files in which git has marked conflicts."""
    for change in found:
        source, target = copy.folder / change.name, place.root / change.name
        if change.after and not change.is_whole and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)


def _put_back(place: Place, before: Entries, error: Exception) -> NoReturn:
    """Undo what was done, and raise the error that has come; nobody can have edited meanwhile."""
    said = error.fact if isinstance(error, ScaffoldError) else str(error)
    try:
        undo.restore(place, before)
    except (ScaffoldError, OSError):
        remedy = "mend it, and run scaffold abort"
        raise ScaffoldError(f"{said}; half of it is done", remedy, FAILURE) from error
    undo.forget(place)
    raise ScaffoldError(said, AGAIN, FAILURE) from error


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Keep another scaffold out of the repository; the lock goes with this process."""
    with (place.git_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fact = "another scaffold is at work in this repository"
            raise ScaffoldError(fact, AGAIN, PRECONDITION) from error
        yield
