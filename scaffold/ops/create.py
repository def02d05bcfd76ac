"""Makes a project: renders it beside its place, verifies and commits it, and renames it once."""

import errno
import os
import tempfile
from pathlib import Path

from scaffold import __version__
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import files_in
from scaffold.git.run import QUIET, failed, git
from scaffold.names import pasted
from scaffold.signals import end_if_signalled
from scaffold.staging import check_there, staging
from scaffold.template.render import render
from scaffold.template.source import template_folder

TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
NO_GIT = "nothing was changed; mend it, or add --no-git and commit yourself"


def new(path: Path, answers: dict[str, str], git: bool) -> list[str]:
    """Make the project at path and give the names of its files.

    Whatever goes wrong before the last step, a rename, leaves nothing behind.
    Raises ScaffoldError where the path is taken, not writable, or git fails.
    """
    check_place(path)
    with staging(path.parent) as room:
        folder = render(template_folder(room), answers, room / "project")
        names = files_in(folder)
        if git and not inside_repository(path.parent):
            first_commit(folder, f"Start from scaffold {__version__} ({answers['method']})")
        check_there(room)
        end_if_signalled()
        try:
            folder.rename(path)  # an empty folder is replaced, anything else refuses
        except OSError as error:
            what = "appeared meanwhile" if error.errno in TAKEN else "cannot be made"
            fact = f"`{path}` {what} ({error.strerror})"
            other = "nothing was changed; choose another path"
            raise ScaffoldError(fact, other, PRECONDITION) from error
    return names


def preview(path: Path, answers: dict[str, str]) -> list[str]:
    """The names of the files that `new` would make; nothing is left behind."""
    check_place(path)
    with staging(Path(tempfile.gettempdir())) as room:
        return files_in(render(template_folder(room), answers, room / "project"))


def check_place(path: Path) -> None:
    """Raise ScaffoldError where no project can be made at the path."""
    other = "choose another path; nothing was changed"
    try:
        _check_place(path, other)
    except OSError as error:  # too long, a loop of links, a folder that may not be entered
        raise ScaffoldError(f"`{path}`: {error.strerror}", other, PRECONDITION) from error


def _check_place(path: Path, other: str) -> None:
    if path.is_symlink():
        raise ScaffoldError(f"`{path}` is a link", other, PRECONDITION)
    if path.exists() and not path.is_dir():
        raise ScaffoldError(f"`{path}` is a file", other, PRECONDITION)
    if path.is_dir() and any(path.iterdir()):
        raise ScaffoldError(f"`{path}` exists and is not empty", other, PRECONDITION)
    if path.is_dir() and path.samefile(Path.cwd()):
        remedy = f"cd .. && scaffold new {path.absolute().name}"
        raise ScaffoldError("the current folder cannot be replaced", remedy, PRECONDITION)
    if not path.parent.is_dir():
        free = not os.path.lexists(path.parent)
        remedy = f"mkdir -p {pasted(path.parent)}" if free else other
        raise ScaffoldError(f"`{path.parent}` is not a folder", remedy, PRECONDITION)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ScaffoldError(f"`{path.parent}` is not writable", other, PRECONDITION)


def inside_repository(folder: Path) -> bool:
    """Whether git keeps this folder already."""
    answer = git(folder, "rev-parse", "--is-inside-work-tree")
    return answer.returncode == 0 and answer.stdout.strip() == "true"


def first_commit(folder: Path, message: str) -> None:
    """Make a git repository of the folder, with one commit.

    Without hooks and signatures, and with a name for who has none: this commit must not ask.
    """
    identity = []
    for key, value in (("user.name", "scaffold"), ("user.email", "scaffold@localhost")):
        if not git(folder.parent, "config", key).stdout.strip():
            identity += ["-c", f"{key}={value}"]
    options = [*identity, *QUIET]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        [*options, "add", "--all"],
        [*options, "commit", "--quiet", "--message", message],
    ):
        done = git(folder, *arguments)
        if done.returncode != 0:
            raise failed(folder, done.stderr, NO_GIT)
