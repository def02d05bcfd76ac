"""What a move keeps of a project, in a folder beside git's own, so that it can be taken back.

A note, and each file as it was before and as the move writes it. So nothing is lost whenever the
move, or its undoing, is killed; and what was edited since is known by its bytes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from scaffold.changes import Change
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import copy, is_there, remove, same
from scaffold.git import ask
from scaffold.index import Entries, look_again, set_index
from scaffold.names import some
from scaffold.place import Place

FOLDER, NOTE = "scaffold-move", "note.json"
BEGUN, DONE, BACK = "begun", "done", "back"  # how far a move is; back: it is being taken back


def begin(place: Place, found: list[Change], message: str) -> None:
    """Note that a move begins, and keep its files as they are and as they will be.

    Raises ScaffoldError or OSError; then nothing was changed.
    """
    folder = place.git_dir / f"{FOLDER}.new"
    shutil.rmtree(folder, ignore_errors=True)
    before: Entries = {place.prefix + change.name: change.before for change in found}
    after: Entries = {place.prefix + change.name: change.after for change in found}
    note = {"head": place.head, "message": message, "state": BEGUN}
    try:
        for path in before:
            if is_there(place.top / path):
                copy(place.top / path, folder / "before" / path)
        _check_out(place, found, folder)
        (folder / NOTE).write_text(json.dumps(note | {"before": before, "after": after}))
        forget(place)
        folder.rename(place.git_dir / FOLDER)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_out(place: Place, found: list[Change], folder: Path) -> None:
    """Let git write the files of the move as it does everywhere: with line ends and filters."""
    index = {"GIT_INDEX_FILE": str(folder / "index")}
    (folder / "after").mkdir(parents=True, exist_ok=True)
    texts: Entries = {place.prefix + change.name: [change.text] for change in found if change.text}
    set_index(place, texts, **index)
    ask(place.top, "checkout-index", "--all", f"--prefix={folder}/after/", **index)
    for change in found:
        if change.text and [mode for mode, *_ in change.before] == [change.text[0]]:
            path = place.prefix + change.name
            shutil.copymode(
                folder / "before" / path, folder / "after" / path, follow_symlinks=False
            )


def read(place: Place) -> dict[str, Any]:
    """The note of the last move; empty where there is none."""
    try:
        note: dict[str, Any] = json.loads((place.git_dir / FOLDER / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note


def set_state(place: Place, state: str) -> None:
    """Note how far the move is."""
    path = place.git_dir / FOLDER / NOTE
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(read(place) | {"state": state}))
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


def write(place: Place) -> None:
    """Let the files be as the move makes them.

    Raises ScaffoldError where one was edited since the move began, and OSError.
    """
    paths = list(read(place)["after"])
    for path in _gone_first(place, paths, after):
        if not same(place.top / path, before(place, path)):
            raise ScaffoldError(f"edited meanwhile: {some([path])}", "", PRECONDITION)
        _write(place, path, after(place, path))
    look_again(place)


def restore(place: Place, paths: list[str]) -> None:
    """Let the index be as it was before the move, and so these of its files; then forget it."""
    set_index(place, read(place)["before"])
    for path in _gone_first(place, paths, before):
        _write(place, path, before(place, path))
    look_again(place)
    forget(place)


def _gone_first(place: Place, paths: list[str], kept: Any) -> list[str]:
    """The paths, those where no file will be first: another may need a folder of that name."""
    return sorted(paths, key=lambda path: is_there(kept(place, path)))


def _write(place: Place, path: str, source: Path) -> None:
    if not is_there(source):
        remove(place.top, path)
    elif not same(place.top / path, source):
        copy(source, place.top / path)
