"""What a move has begun in a project, so that it can be taken back: a note in the folder of git."""

import json
from pathlib import Path
from typing import Any

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git import ask
from scaffold.names import printable
from scaffold.place import Place

NOTE = "scaffold-move.json"


def begin(place: Place, message: str, added: list[str]) -> None:
    """Note that a move begins; added: files of the project that it may make, and nobody has yet."""
    _write(place, {"head": place.head, "message": message, "done": False, "added": added})


def done(place: Place) -> None:
    """Note that the move is done, and waits for its owner."""
    _write(place, read(place) | {"done": True})


def forget(place: Place) -> None:
    """Nothing was changed, or all was taken back."""
    (place.git_dir / NOTE).unlink(missing_ok=True)


def read(place: Place) -> dict[str, Any]:
    """The note of a move that is not committed yet; empty where there is none."""
    try:
        note: dict[str, Any] = json.loads((place.git_dir / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if note.get("head") == place.head else {}


def is_half_done(place: Place) -> bool:
    """Whether a move was killed while git wrote files."""
    return read(place).get("done") is False


def take_back(place: Place) -> str:
    """Bring everything back as it was before the move, and give its message.

    Raises ScaffoldError where there is nothing to take back, or what was edited since would go.
    """
    note = read(place)
    if not note:
        forget(place)  # of a move that was committed
        raise ScaffoldError(
            "nothing is under way here", "git log shows what was done", PRECONDITION
        )
    if note["done"]:
        _check_edits(place)
        ask(place.top, "reset", "--quiet", "--merge", "HEAD")
    else:
        put_back(place)
    forget(place)
    return str(note["message"])


def put_back(place: Place) -> None:
    """Undo what git may have done by half: before, all that it tracks was as in the last commit."""
    ask(place.top, "reset", "--quiet", "--hard", "HEAD")
    for name in read(place).get("added", ()):
        (place.root / name).unlink(missing_ok=True)


def _check_edits(place: Place) -> None:
    unmerged = set(ask(place.top, "diff", "--name-only", "--diff-filter=U", "-z").split("\0"))
    edited = set(ask(place.top, "diff", "--name-only", "-z").split("\0")) - unmerged
    if edited:
        shown = ", ".join(sorted(printable(place.name(name)) for name in edited)[:3])
        remedy = "keep what you need of it elsewhere and git add it; then scaffold abort drops it"
        raise ScaffoldError(f"edited since: {shown}", remedy, PRECONDITION)


def _write(place: Place, note: dict[str, Any]) -> None:
    path = Path(place.git_dir / NOTE)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(note))
    beside.replace(path)
