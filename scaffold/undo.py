"""What a move has begun in a project, so that it can be taken back: a note in the folder of git."""

import json
from typing import Any

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import Entries, index_entries, set_files, set_index
from scaffold.git import ask
from scaffold.names import printable
from scaffold.place import Place

NOTE = "scaffold-move.json"


def begin(place: Place, message: str, before: Entries, after: Entries) -> None:
    """Note that a move begins, and what the index has of its files before and after it."""
    note = {"head": place.head, "message": message, "done": False}
    _write(place, note | {"before": before, "after": after})


def done(place: Place) -> None:
    """Note that the move is done, and waits for its owner."""
    _write(place, read(place) | {"done": True})


def forget(place: Place) -> None:
    """Nothing was changed, or all was taken back."""
    (place.git_dir / NOTE).unlink(missing_ok=True)


def read(place: Place) -> dict[str, Any]:
    """The note of a move that is not committed yet; empty where there is none."""
    try:
        note = json.loads((place.git_dir / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) and note.get("head") == place.head else {}


def is_half_done(place: Place) -> bool:
    """Whether a move was killed after it had begun to change something."""
    note = read(place)
    if note.get("done") is not False:
        return False
    if not _is_there(place, note):
        forget(place)  # killed before it changed anything: the index comes first
        return False
    return True


def take_back(place: Place) -> str:
    """Bring all that the move has changed back as it was before, and give its message.

    Raises ScaffoldError where there is nothing to take back, or what was edited since would go.
    """
    note = read(place)
    if not note or not _is_there(place, note):
        forget(place)  # of a move that was committed, or taken back by git
        raise ScaffoldError(
            "nothing is under way here", "git log shows what was done", PRECONDITION
        )
    if note["done"]:
        _check_edits(place, note["before"])
    restore(place, note["before"])
    forget(place)
    return str(note["message"])


def restore(place: Place, before: Entries) -> None:
    """Let the index and the files be as they were."""
    set_index(place, before)
    set_files(place, before)


def _is_there(place: Place, note: dict[str, Any]) -> bool:
    """Whether the index has anything of what the move has put there."""
    now = index_entries(place, list(note["after"]))
    return any(
        now[path] == [tuple(entry) for entry in entries] for path, entries in note["after"].items()
    )


def _check_edits(place: Place, paths: Entries) -> None:
    flags = ("--name-only", "--no-renames", "--ignore-submodules=dirty", "-z")
    unmerged = set(ask(place.top, "diff", "--diff-filter=U", *flags).split("\0"))
    edited = paths.keys() & set(ask(place.top, "diff", *flags).split("\0")) - unmerged
    if edited:
        shown = ", ".join(sorted(printable(place.name(name)) for name in edited)[:3])
        remedy = "keep what you need of it elsewhere and git add it; then scaffold abort drops it"
        raise ScaffoldError(f"edited since: {shown}", remedy, PRECONDITION)


def _write(place: Place, note: dict[str, Any]) -> None:
    beside = (place.git_dir / NOTE).with_suffix(".tmp")
    beside.write_text(json.dumps(note))
    beside.replace(place.git_dir / NOTE)
