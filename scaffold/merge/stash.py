"""Keeps what somebody has written in files that are taken back, as `git stash` does.

That one itself refuses while there are conflicts.
"""

import shutil
from pathlib import Path

from scaffold.git.index import Entry, set_index
from scaffold.git.repository import Place
from scaffold.git.run import NOBODY, ask
from scaffold.merge import journal

RETRIEVE = "git stash show -p shows it, git stash pop brings it back"


def keep(place: Place, written: list[str], staged: dict[str, Entry], message: str) -> None:
    """Store these files in a stash, as changes of the last commit.

    written: those to be kept as they are on the disk, of which the journal gets a copy; staged: the
    entries of those to be kept as they are in the index.
    """
    room = place.git_dir / journal.FOLDER / "stash"
    shutil.rmtree(room, ignore_errors=True)
    copies, index = room / "files", {"GIT_INDEX_FILE": str(room / "index")}
    copies.mkdir(parents=True)
    entries = {path: [entry] for path, entry in staged.items()}
    for path in written:
        (copies / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(place.top / path, copies / path, follow_symlinks=False)
        entries[path] = [_entry(place, path, copies / path)]
    ask(place.top, "read-tree", place.head, **index)
    set_index(place, entries, **index)
    tree = ask(place.top, "write-tree", "--missing-ok", **index).strip()
    # as git makes a stash: a commit of the index, which holds nothing here, and one of the files
    words = ("commit-tree", f"{place.head}^{{tree}}", "-p", place.head)
    nothing = ask(place.top, *words, text="index\n", **NOBODY).strip()
    parents = ("-p", place.head, "-p", nothing)
    stash = ask(place.top, "commit-tree", tree, *parents, text=f"{message}\n", **NOBODY).strip()
    ask(place.top, "stash", "store", "--quiet", "--message", message, stash, **NOBODY)
    for path in written:
        journal.kept(place, path).parent.mkdir(parents=True, exist_ok=True)
        (copies / path).replace(journal.kept(place, path))


def _entry(place: Place, path: str, copy: Path) -> Entry:
    """What the index would have of a file, of which there is a copy."""
    if copy.is_symlink():
        link = str(copy.readlink())
        return "120000", ask(place.top, "hash-object", "-w", "--stdin", text=link).strip(), "0"
    words = ("-c", "core.safecrlf=false", "hash-object", "-w", f"--path={path}", str(copy))
    can_run = copy.stat().st_mode & 0o100
    return "100755" if can_run else "100644", ask(place.top, *words).strip(), "0"
