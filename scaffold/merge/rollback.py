"""Takes back a move that is not committed yet: a switch, an update, a project in a repository."""

from pathlib import Path
from typing import Any, NamedTuple

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import is_there, same
from scaffold.git.index import LITERAL, Entry, index_entries, is_whole, unseen
from scaffold.git.lock import check_git
from scaffold.git.repository import Place
from scaffold.git.run import ask
from scaffold.merge import journal, stash
from scaffold.names import some
from scaffold.template.answers import FILE


class Taken(NamedTuple):
    """What was taken back."""

    message: str  # of the move
    kept: list[str]  # files of the project of which a stash keeps what somebody has written


def under_way(place: Place) -> dict[str, Any]:
    """The note of a move that is not committed yet, be it done or not; empty where there is none.

    A move that was killed before it changed anything is none, nor one that git has taken back.
    """
    note = journal.read(place)
    if note.get("head") != place.head:
        return {}
    if note["done"]:  # each move writes answers, and the other files may be anybody's by now
        paths = [path for path in note["after"] if Path(path).name == FILE]
        is_made = any(not same(place.top / path, journal.before(place, path)) for path in paths)
    else:
        is_made = _is_in_index(place, note) or any(
            any(same(place.top / path, side(place, path)) for side in (journal.after, journal.kept))
            and not same(place.top / path, journal.before(place, path))
            for path in note["after"]
        )
    return note if is_made else {}


def take_back(place: Place) -> Taken:
    """Bring all that the move has changed back as it was before.

    What somebody has written where a conflict was goes into a stash. Raises ScaffoldError where
    there is nothing to take back, or what was edited elsewhere would go.
    """
    check_git(place)
    note = under_way(place)
    if not note:
        fact, remedy = "nothing is under way here", "git log shows what was done"
        last = journal.read(place)
        if last.get("head", place.head) != place.head:
            fact = f"there is another commit than when it began: {last['message']}"
            remedy = "if it was committed, git revert; if not, git add -u && git stash"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    paths, message = note["after"], str(note["message"])
    settled, staged = _settled(place, note)
    edited = [path for path in paths if journal.is_edited(place, path, paths)]
    if others := [place.name(path) for path in edited if path not in settled]:
        remedy = "move it elsewhere; then scaffold abort"
        raise ScaffoldError(f"edited since: {some(others)}", remedy, PRECONDITION)
    if edited or staged:
        stash.keep(place, edited, staged, f"scaffold abort: {message}")
    # also by an abort that was killed
    kept = {*staged, *(path for path in paths if is_there(journal.kept(place, path)))}
    journal.set_done(place, False)
    journal.restore(place, paths)
    return Taken(message, sorted(map(place.name, kept)))


def _is_in_index(place: Place, note: dict[str, Any]) -> bool:
    """Whether the index has anything of what the move has put there."""
    now = index_entries(place, list(note["after"]))
    return any(
        now[path] == [tuple(entry) for entry in entries] for path, entries in note["after"].items()
    )


def _settled(place: Place, note: dict[str, Any]) -> tuple[set[str], dict[str, Entry]]:
    """The files with a conflict that somebody is settling, or has settled and staged.

    And the entries of those of which the index alone has what somebody has written.
    """
    paths = list(note["after"])
    now = index_entries(place, paths)
    words = ("diff", "--name-only", "--no-renames", "-z", "--", *paths)
    differ = {*unseen(place, paths), *ask(place.top, *words, **LITERAL).split("\0")}
    settled = {
        path
        for path, entries in note["after"].items()
        if entries and not is_whole(entries) and is_there(place.top / path)
        if now[path] and (not is_whole(now[path]) or path not in differ)
    }
    staged = {}
    for path in differ & now.keys():
        known = {blob for _, blob, _ in [*note["before"][path], *note["after"][path]]}
        if is_whole(now[path]) and now[path][0][1] not in known:
            staged[path] = now[path][0]
    return settled, staged
