"""What a move keeps of a project, in a folder beside git's own, so that it can be taken back.

A note, and each file as it was before and as the move writes it. So nothing is lost whenever the
move, or its undoing, is killed; and what was edited since is known by its bytes.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import barrier, holds_only, is_there, remove, replace, same
from scaffold.git.index import Entries, look_again, set_index
from scaffold.git.repository import Place
from scaffold.merge.changes import Change
from scaffold.merge.checkout import check_out
from scaffold.names import printable, some

FOLDER, NOTE = "scaffold-move", "note.json"
KEYS = {"head": str, "message": str, "done": bool, "before": dict, "after": dict}


def begin(place: Place, found: list[Change], message: str) -> None:
    """Note that a move begins, and keep its files as they are and as they will be.

    Raises ScaffoldError or OSError; then nothing was changed.
    """
    folder = place.git_dir / f"{FOLDER}.new"
    shutil.rmtree(folder, ignore_errors=True)
    before: Entries = {place.prefix + change.name: change.before for change in found}
    after: Entries = {place.prefix + change.name: change.after for change in found}
    told = f"{message} (in {printable(place.prefix)})" if place.prefix else message
    note = {"head": place.head, "message": told, "done": False, "before": before, "after": after}
    try:
        for path in filter(lambda path: is_there(place.top / path), before):
            (folder / "before" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place.top / path, folder / "before" / path, follow_symlinks=False)
        check_out(place, found, folder)
        (folder / NOTE).write_text(json.dumps(note))
        forget(place)
        folder.rename(place.git_dir / FOLDER)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def read(place: Place) -> dict[str, Any]:
    """The note of the last move: KEYS; empty where there is none.

    Raises ScaffoldError where somebody has changed it.
    """
    path = place.git_dir / FOLDER / NOTE
    if not path.parent.exists():
        return {}
    try:
        note: dict[str, Any] = json.loads(path.read_text())
        is_ours = all(isinstance(note[name], kind) for name, kind in KEYS.items())
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        fact = f"what the last move has kept in `{printable(str(path.parent))}` is damaged"
        remedy = "git add -u && git stash takes a move back and keeps it; then remove that folder"
        raise ScaffoldError(fact, remedy, PRECONDITION)
    return note


def set_done(place: Place, done: bool) -> None:
    """Note whether the move is done; it is not while it is made, or taken back."""
    path = place.git_dir / FOLDER / NOTE
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(read(place) | {"done": done}))
    beside.replace(path)


def forget(place: Place) -> None:
    """Keep nothing more of the last move."""
    gone = place.git_dir / f"{FOLDER}.old"  # renamed first: half a folder would be no note
    shutil.rmtree(gone, ignore_errors=True)
    if (place.git_dir / FOLDER).exists():
        (place.git_dir / FOLDER).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def before(place: Place, path: str) -> Path:
    """Where a file is kept as it was before the move, if there was one."""
    return place.git_dir / FOLDER / "before" / path


def after(place: Place, path: str) -> Path:
    """Where a file is kept as the move writes it, if it does."""
    return place.git_dir / FOLDER / "after" / path


def kept(place: Place, path: str) -> Path:
    """Where a file is as somebody has edited it, if that is in a stash (stash.py)."""
    return place.git_dir / FOLDER / "kept" / path


def is_edited(place: Place, path: str, paths: Collection[str]) -> bool:
    """Whether one of the paths of a move has what is not kept.

    That is neither what was there before, nor what the move wrote, nor what is in a stash.
    """
    there, barred = place.top / path, barrier(place.top, path)
    if barred or not os.path.lexists(there):
        # a file of the move can lie where it makes or removes a folder
        return barred is not None and str(barred.relative_to(place.top)) not in paths
    if holds_only(there, {place.top / other for other in paths}):
        return False
    return not any(same(there, side(place, path)) for side in (before, after, kept))


def write(place: Place) -> None:
    """Let the files be as the move makes them.

    Raises ScaffoldError where one was edited since the move began, and OSError.
    """
    for path in _gone_first(place, read(place)["after"], after):
        if not same(place.top / path, before(place, path)):
            raise ScaffoldError(f"edited meanwhile: {some([path])}", "", PRECONDITION)
        _write(place, path, after(place, path))
    look_again(place)


def restore(place: Place, paths: Collection[str]) -> None:
    """Let the index be as it was before the move, and so these of its files; then forget it.

    Raises ScaffoldError where one of them has an edit that is not kept.
    """
    note = read(place)
    set_index(place, note["before"])
    for path in _gone_first(place, paths, before):
        if is_edited(place, path, note["before"]):
            remedy = "move it elsewhere; then scaffold abort"
            raise ScaffoldError(f"edited meanwhile: {some([path])}", remedy, PRECONDITION)
        _write(place, path, before(place, path))
    look_again(place)
    forget(place)


def _gone_first(
    place: Place, paths: Collection[str], side: Callable[[Place, str], Path]
) -> list[str]:
    """The paths, those where no file will be first: another may need a folder of that name."""
    return sorted(paths, key=lambda path: is_there(side(place, path)))


def _write(place: Place, path: str, source: Path) -> None:
    if not is_there(source):
        remove(place.top, path)
    elif not same(place.top / path, source):
        replace(place.top / path, source, place.git_dir / FOLDER)
