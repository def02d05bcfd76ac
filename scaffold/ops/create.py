"""Makes a project: renders it beside its place, verifies and commits it, and renames it once."""

import errno
import os
import tempfile
from pathlib import Path

from scaffold import __version__
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import files_in
from scaffold.git.repository import NOWHERE
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
            first_commit(folder, names, f"Start from scaffold {__version__} ({answers['method']})")
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
    """Whether git keeps this folder already.

    Raises ScaffoldError where git will not say: one that it distrusts, or that is broken.
    """
    answer = git(folder, "rev-parse", "--is-inside-work-tree")
    if answer.returncode != 0 and NOWHERE not in answer.stderr:
        raise failed(folder, answer.stderr, NO_GIT)
    return answer.stdout.strip() == "true"


def first_commit(folder: Path, names: list[str], message: str) -> None:
    """Make a git repository of the folder, with one commit that has these files.

    Without hooks and signatures, and with a name for who has none: this commit must not ask. Each
    file goes in as it is, whatever the user has git ignore, convert or filter elsewhere.
    """
    options = [*QUIET, "-c", "safe.directory=*"]  # it is ours, whoever the disk says that owns it
    for key, value in (("user.name", "scaffold"), ("user.email", "scaffold@localhost")):
        if not git(folder.parent, "config", key).stdout.strip():
            options += ["-c", f"{key}={value}"]

    def do(*arguments: str, text: str = "") -> str:
        done = git(folder, *options, *arguments, text=text)
        if done.returncode != 0:
            raise failed(folder, done.stderr, NO_GIT)
        return done.stdout

    do("init", "--quiet")
    do("symbolic-ref", "HEAD", "refs/heads/main")  # git knows --initial-branch only since 2.28
    # not `git add`, in which ignore files and attributes have a say
    stored = do("hash-object", "-w", "--no-filters", "--stdin-paths", text="\n".join(names))
    modes = ["100755" if (folder / name).stat().st_mode & 0o100 else "100644" for name in names]
    entries = zip(modes, stored.split(), names, strict=True)
    listed = "".join(f"{mode} {blob}\t{name}\0" for mode, blob, name in entries)
    do("update-index", "-z", "--index-info", text=listed)
    # nor `git commit`, which has filters look at the files
    commit = do("commit-tree", do("write-tree").strip(), text=f"{message}\n").strip()
    do("update-ref", "-m", f"commit (initial): {message}", "HEAD", commit)
    git(folder, *options, "update-index", "-q", "--refresh")  # a filter may fail, and is not ours
