"""Makes a project of a repository that exists: the same merge, with nothing as its base."""

import os
import tempfile
from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import files_in
from scaffold.merge.apply import apply, check
from scaffold.merge.collisions import check_hidden
from scaffold.merge.preflight import ready
from scaffold.merge.sandbox import Copy, copy_of
from scaffold.merge.three_way import Outcome, merge, tell
from scaffold.staging import staging
from scaffold.template.answers import FILE
from scaffold.template.render import render
from scaffold.template.source import template_folder


def is_repository(path: Path) -> bool:
    """Whether a folder has anything in it, be it git's alone; a link is no folder here."""
    try:
        return path.is_dir() and not path.is_symlink() and any(path.iterdir())
    except OSError:  # a path that no project can have
        return False


def is_taken(path: Path) -> bool:
    """Whether a folder holds anything but git's own."""
    return any(child.name != ".git" for child in path.iterdir())


def refusal(path: Path, there: list[str]) -> ScaffoldError:
    """The error of a folder that is not empty; there: the files that are in the way."""
    fact = f"`{path}` exists and is not empty"
    ways = "skip, overwrite or merge" if there else "skip: none of its files is in the way"
    remedy = f"choose another path, or --on-conflict {ways}; nothing was changed"
    return ScaffoldError(fact, remedy, PRECONDITION)


def collisions(folder: Path, render: Path) -> list[str]:
    """The files of a rendered project that are otherwise in a folder.

    Not its rules for git, which are added to those of the folder (sandbox.py).
    """
    return [
        name
        for name in files_in(render)
        if name != ".gitattributes"
        and os.path.lexists(folder / name)
        and not (
            (folder / name).is_file()
            and (folder / name).read_bytes() == (render / name).read_bytes()
        )
    ]


def listed(path: Path, answers: dict[str, str]) -> list[str]:
    """The files of the project that are otherwise in the folder at path."""
    with staging(Path(tempfile.gettempdir())) as room:
        return collisions(path, render(template_folder(room), answers, room / "new"))


def adopt(path: Path, answers: dict[str, str], way: str, message: str, dry_run: bool) -> Outcome:
    """Add a project to the folder at path, staged in git and not committed.

    dry_run: tell what would come of it, and touch nothing. Raises ScaffoldError where nothing could
    be undone; then nothing was changed.
    """
    if os.path.lexists(path / FILE):
        remedy = "scaffold switch changes its method, scaffold update its version"
        raise ScaffoldError(f"`{path}` is a project already", remedy, PRECONDITION)
    place = ready(path.absolute())
    with staging(Path(tempfile.gettempdir())) as room:
        new, old = render(template_folder(room), answers, room / "new"), room / "old"
        old.mkdir()
        check_hidden(path, old, new)
        skipped = collisions(path, new) if way == "skip" else []
        for name in skipped:
            (new / name).unlink()
        copy = copy_of(place, room, keep=not dry_run)
        outcome = merge(copy, old, new, message)
        outcome.skipped = skipped
        if way == "overwrite":
            take_theirs(copy, outcome)
        found = tell(copy, outcome)
        if dry_run:
            check(place, found)
        else:
            apply(place, found, message)
        return outcome


def take_theirs(copy: Copy, outcome: Outcome) -> None:
    """Settle each conflict with what the project has."""
    names = list(outcome.conflicts)
    if names:
        copy.ask("checkout", "--theirs", "--", *names)
        copy.ask("add", "--force", "--", *names)
        outcome.conflicts.clear()
