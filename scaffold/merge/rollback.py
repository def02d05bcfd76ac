"""Takes back a move that is not committed yet: a switch, an update, a project in a repository."""

from pathlib import Path
from typing import Any

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import same
from scaffold.git.index import LITERAL, index_entries, is_whole, unseen
from scaffold.git.lock import check_git
from scaffold.git.repository import Place
from scaffold.git.run import ask
from scaffold.merge import journal
from scaffold.names import some
from scaffold.template.answers import FILE


def under_way(place: Place) -> dict[str, Any]:
    """The note of a move that is not committed yet, be it done or not; empty where there is none.

    A move that was killed before it changed anything is none, nor one that git has taken back.
    """
    note = journal.read(place)
    if note.get("head") != place.head:
        return {}
    if note["done"]:  # each move writes answers, and the other files may be anybody's by now
        paths = [path for path in note["after"] if Path(path).name == FILE]
        is_there = any(not same(place.top / path, journal.before(place, path)) for path in paths)
    else:
        is_there = _is_in_index(place, note) or any(
            same(place.top / path, journal.after(place, path))
            and not same(place.top / path, journal.before(place, path))
            for path in note["after"]
        )
    return note if is_there else {}


def take_back(place: Place) -> str:
    """Bring all that the move has changed back as it was before, and give its message.

    Raises ScaffoldError where there is nothing to take back, or what was edited since would go.
    """
    check_git(place)
    note = under_way(place)
    if not note:
        fact, remedy = "nothing is under way here", "git log shows what was done"
        last = journal.read(place)
        if last.get("head", place.head) != place.head:
            fact = f"there is another commit than when it began: {last['message']}"
            remedy = "if it was committed, git revert; if not, git reset --merge"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    settled = _settled(place, note)
    paths = note["after"]
    edited = [p for p in paths if p not in settled and journal.is_edited(place, p, paths)]
    if edited:
        fact = f"edited since: {some([place.name(path) for path in edited])}"
        raise ScaffoldError(fact, "move it elsewhere; then scaffold abort", PRECONDITION)
    journal.set_done(place, False)
    journal.restore(place, paths, settled)
    return str(note["message"])


def _is_in_index(place: Place, note: dict[str, Any]) -> bool:
    """Whether the index has anything of what the move has put there."""
    now = index_entries(place, list(note["after"]))
    return any(
        now[path] == [tuple(entry) for entry in entries] for path, entries in note["after"].items()
    )


def _settled(place: Place, note: dict[str, Any]) -> set[str]:
    """The files with a conflict that somebody is settling, or has settled and staged.

    What they have written there goes with the conflict, as with `git merge --abort`.
    """
    paths = [
        path
        for path, entries in note["after"].items()
        if entries and not is_whole(entries) and (place.top / path).is_file()
    ]
    if not paths:
        return set()
    now = index_entries(place, paths)
    words = ("diff", "--name-only", "--no-renames", "-z", "--", *paths)
    differ = {*unseen(place, paths), *ask(place.top, *words, **LITERAL).split("\0")}
    return {path for path in paths if now[path] and (not is_whole(now[path]) or path not in differ)}
