"""A project from what made it to what it shall be: two renders and one merge."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from scaffold import undo
from scaffold.answers import FILE
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git import NOBODY, ask
from scaffold.merge import Outcome, check_untracked, merge, write_renders
from scaffold.place import Place, line_ends
from scaffold.project import files, render
from scaffold.ready import ready
from scaffold.releases import template_of
from scaffold.signals import end_if_signalled
from scaffold.staging import staging

# a rehearsal looks at what the project has, not at what its user has set
NO_SETTINGS = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


@dataclass(frozen=True)
class Move:
    """What a project is, and what it shall be."""

    root: Path
    message: str  # of the commit that its owner will make of it
    old_version: str
    old: dict[str, str]  # answers
    new_version: str
    new: dict[str, str]


def carry_out(move: Move) -> Outcome:
    """Merge the move into the project. It is staged; its owner looks at it and commits it.

    Raises ScaffoldError where the project is not ready, and nothing was changed.
    """
    place = ready(move.root)
    with _renders(move, place) as (old, new):
        return merged(place, old, new, move.message)


def merged(place: Place, old: Path, new: Path, message: str) -> Outcome:
    """Merge the difference of two renders into a project, so that it can be taken back.

    Where it fails, nothing was changed; where it is killed, `undo.take_back` is the way.
    """
    renders = write_renders(place, old, new, message)
    added = [name for name in files(new) if not os.path.lexists(place.root / name)]
    end_if_signalled()
    undo.begin(place, message, added)
    try:
        outcome = merge(place, renders, (new / FILE).read_bytes())
    except (ScaffoldError, OSError):
        undo.put_back(place)
        undo.forget(place)
        raise
    if outcome.is_empty:
        undo.forget(place)
    else:
        undo.done(place)
    return outcome


def rehearse(move: Move, color: bool = False) -> tuple[Outcome, str]:
    """The same in a copy of the project: what it would do, and the patch. It touches nothing."""
    place = ready(move.root)
    with _renders(move, place) as (old, new):
        copy = _copy(place, old.parent)
        renders = write_renders(copy, old, new, move.message)
        outcome = merge(copy, renders, (new / FILE).read_bytes())
        ask(copy.top, "add", "--all", "--force")
        flags = ("--cached", "--no-ext-diff", f"--color={'always' if color else 'never'}")
        return outcome, ask(copy.top, "diff", *flags, copy.head)


@contextmanager
def _renders(move: Move, place: Place) -> Iterator[tuple[Path, Path]]:
    """Two folders: what the template made once, and what it makes now."""
    with staging(Path(tempfile.gettempdir())) as room:
        template = template_of(move.old_version, room)
        old = render(template, move.old, room / "old")
        if move.new_version != move.old_version:
            template = template_of(move.new_version, room)
        new = render(template, move.new, room / "new")
        kept = line_ends(place)
        if FILE not in kept:
            remedy = 'git add --all . && git commit -m "Keep the project"'
            raise ScaffoldError(f"git does not keep `{FILE}`", remedy, PRECONDITION)
        check_untracked(place, kept, old, new)
        yield old, new


def _copy(place: Place, room: Path) -> Place:
    """The project as it was committed last, alone in a repository of its own."""
    folder = room / "copy"
    wanted = ("--show-object-format", "--path-format=absolute", "--git-path", "objects")
    kind, objects = ask(place.top, "rev-parse", *wanted).split("\n")[:2]
    ask(room, "init", "--quiet", f"--object-format={kind}", str(folder), **NO_SETTINGS)
    (folder / ".git/objects/info/alternates").write_text(f"{objects}\n")
    tree = f"{place.head}:{place.prefix}"
    commit = ask(folder, "commit-tree", tree, text="project\n", **NOBODY).strip()
    ask(folder, "checkout", "--quiet", "--detach", commit, **NO_SETTINGS)
    return replace(place, root=folder, top=folder, git_dir=folder / ".git", prefix="", head=commit)
