"""Puts what was merged in a copy into the project itself: these files and no others.

Nothing is written where somebody's work could be lost by it, and all that is written can be taken
back (journal.py, rollback.py).
"""

import os
from pathlib import Path
from typing import NoReturn

from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError
from scaffold.files import barrier, holds_only
from scaffold.git.index import set_index, unseen
from scaffold.git.lock import alone
from scaffold.git.repository import Place
from scaffold.git.run import AGAIN, ask
from scaffold.merge import journal
from scaffold.merge.changes import Change
from scaffold.merge.preflight import ready
from scaffold.names import of_system, some
from scaffold.signals import end_if_signalled
from scaffold.staging import told_if_full


def apply(place: Place, found: list[Change], message: str) -> None:
    """Stage what was merged in a copy, and write the files, those with conflicts too.

    Raises ScaffoldError; then nothing was changed, or the error says how to go back.
    """
    if not found:
        return
    with told_if_full(place.git_dir), alone(place):
        check(place, found)
        journal.begin(place, found, message)
        try:
            end_if_signalled()
            set_index(place, {place.prefix + change.name: change.after for change in found})
        except BaseException:  # all or nothing
            journal.forget(place)
            raise
        try:
            journal.write(place)
            journal.set_done(place, True)
        except (ScaffoldError, OSError) as error:
            _put_back(place, error)


def check(place: Place, found: list[Change]) -> None:
    """Raise ScaffoldError where a file is not as the last commit has it, or not kept by git."""
    if ready(place.root) != place:
        raise ScaffoldError("the repository was changed meanwhile", AGAIN, PRECONDITION)
    if not found:
        return
    paths = [place.prefix + change.name for change in found]
    if hidden := unseen(place, paths):
        fact = f"git does not look at {_shown(place, hidden)} (assume-unchanged or sparse)"
        remedy = "git update-index --no-assume-unchanged, or git sparse-checkout disable"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    modules = [c.name for c in found if any(mode == "160000" for mode, *_ in c.before + c.after)]
    if modules:
        fact = f"{some(modules)} is a submodule, and would move with its folder"
        raise ScaffoldError(fact, "move it elsewhere, commit, and run it again", PRECONDITION)
    told = ask(place.top, "check-attr", "-z", "filter", "--", *paths).split("\0")
    values = zip(told[::3], told[2::3], strict=False)
    filtered = [path for path, value in values if value not in ("unspecified", "unset")]
    if filtered:
        fact = f"git passes {_shown(place, filtered)} through a filter"
        remedy = "take it out of the filter in .gitattributes, commit, and run it again"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    added = [place.prefix + change.name for change in found if not change.before]
    removed = {place.top / path for path in paths} - {
        place.top / place.prefix / change.name for change in found if change.after
    }
    there = [path for path in added if _is_taken(place, path, removed)]
    if there:
        fact = f"{_shown(place, there)} would be overwritten, and git does not keep it"
        remedy = "move it elsewhere; then run it again"
        raise ScaffoldError(fact, remedy, PRECONDITION)


def _is_taken(place: Place, path: str, removed: set[Path]) -> bool:
    """Whether something lies at a path or in its way; what the move removes does not."""
    there, barred = place.top / path, barrier(place.top, path)
    return (os.path.lexists(there) and not holds_only(there, removed)) or (
        barred is not None and barred not in removed
    )


def _shown(place: Place, paths: list[str]) -> str:
    return some(sorted(place.name(path) for path in paths))


def _put_back(place: Place, error: ScaffoldError | OSError) -> NoReturn:
    """Undo what was done, and raise the error that has come."""
    if isinstance(error, OSError):
        error = ScaffoldError(of_system(error), AGAIN, FAILURE)
    try:
        paths = journal.read(place)["after"]
        journal.restore(
            place, [path for path in paths if not journal.is_edited(place, path, paths)]
        )
    except (ScaffoldError, OSError):
        remedy = "mend it, and run scaffold abort"
        raise ScaffoldError(f"{error.fact}; half of it is done", remedy, error.status) from error
    raise ScaffoldError(error.fact, AGAIN, error.status) from error
