"""Takes back a move that is not committed yet: a switch, an update, a project in a repository."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from scaffold import kept
from scaffold.answers import FILE
from scaffold.changes import is_whole
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import barrier, holds_only, same
from scaffold.git import ask
from scaffold.index import index_entries
from scaffold.lock import check_git
from scaffold.names import some
from scaffold.place import Place


def under_way(place: Place) -> dict[str, Any]:
    """The note of a move that is not committed yet, be it done or not; empty where there is none.

    A move that was killed before it changed anything is none, nor one that git has taken back.
    """
    note = kept.read(place)
    if note.get("head") != place.head:
        return {}
    changed = [
        path
        for path in note["after"]
        if same(place.top / path, kept.after(place, path))
        and not same(place.top / path, kept.before(place, path))
    ]
    is_under_way = {
        kept.BEGUN: bool(changed) or _is_in_index(place, note),
        kept.DONE: any(Path(path).name == FILE for path in changed),  # each move writes answers
        kept.BACK: True,
    }
    return note if is_under_way[note["state"]] else {}


def take_back(place: Place) -> str:
    """Bring all that the move has changed back as it was before, and give its message.

    Raises ScaffoldError where there is nothing to take back, or what was edited since would go.
    """
    check_git(place)
    note = under_way(place)
    if not note:
        fact, remedy = "nothing is under way here", "git log shows what was done"
        last = kept.read(place)
        if last.get("head", place.head) != place.head:
            fact = f"a commit was made since: {last['message']}"
            remedy = "git log shows it, and git revert takes it back"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    _check_edits(place, note)
    kept.set_state(place, kept.BACK)
    kept.restore(place, list(note["after"]))
    return str(note["message"])


def is_edited(place: Place, path: str, paths: Collection[str]) -> bool:
    """Whether one of the paths of a move has neither what was there before, nor what it wrote."""
    there, barred = place.top / path, barrier(place.top, path)
    if barred or not os.path.lexists(there):
        # a file of the move can lie where it makes or removes a folder
        return barred is not None and str(barred.relative_to(place.top)) not in paths
    if holds_only(there, {place.top / other for other in paths}):
        return False
    return not any(same(there, side(place, path)) for side in (kept.before, kept.after))


def _is_in_index(place: Place, note: dict[str, Any]) -> bool:
    """Whether the index has anything of what the move has put there."""
    now = index_entries(place, list(note["after"]))
    return any(
        now[path] == [tuple(entry) for entry in entries] for path, entries in note["after"].items()
    )


def _check_edits(place: Place, note: dict[str, Any]) -> None:
    """Raise ScaffoldError where a file was edited since the move.

    What is staged may go, and what was written to settle a conflict: git does so, too.
    """
    edited = []
    for path, entries in note["after"].items():
        there = place.top / path
        is_settled = (
            entries and not is_whole(entries) and there.is_file() and not there.is_symlink()
        )
        if is_edited(place, path, note["after"]) and not is_settled:
            edited.append(path)
    if edited:
        staged = _staged(place, edited)
        edited = [path for path in edited if path not in staged]
    if edited:
        remedy = "move what you need elsewhere, or git add it; then scaffold abort drops it"
        shown = some([place.name(path) for path in edited])
        raise ScaffoldError(f"edited since: {shown}", remedy, PRECONDITION)


def _staged(place: Place, paths: list[str]) -> set[str]:
    """Which of the files the index has as they are on the disk."""
    literal = {"GIT_LITERAL_PATHSPECS": "1"}
    listed = ask(place.top, "ls-files", "-v", "-z", "--", *paths, **literal).split("\0")
    known = {entry[2:] for entry in listed if entry[:1] == "H"}  # and looked at by git
    words = ("diff", "--name-only", "--no-renames", "-z", "--", *paths)
    return known - set(ask(place.top, *words, **literal).split("\0"))
