"""Makes a project: renders it beside its place, commits it, and moves it there in one step."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from copier import Settings, run_copy

from scaffold import __version__
from scaffold.errors import FAILURE, PRECONDITION, ScaffoldError
from scaffold.template import template_folder


def new(path: Path, answers: dict[str, str], git: bool) -> list[str]:
    """Make the project at path and give the names of its files.

    Whatever goes wrong before the last step, a rename, leaves nothing behind.
    Raises ScaffoldError where the path is taken, not writable, or git fails.
    """
    check_place(path)
    with staging(path) as folder:
        render(answers, folder)
        names = files(folder)
        if git and not inside_repository(path.parent):
            first_commit(folder, f"Start from scaffold {__version__} ({answers['method']})")
        try:
            folder.rename(path)  # an empty folder is replaced, anything else refuses
        except OSError as error:
            raise ScaffoldError(
                f"`{path}` appeared meanwhile ({error.strerror})",
                "nothing was changed; choose another path",
                PRECONDITION,
            ) from error
    return names


def preview(path: Path, answers: dict[str, str]) -> list[str]:
    """The names of the files that `new` would make; nothing is left behind."""
    check_place(path)
    with TemporaryDirectory(prefix="scaffold-") as folder:
        render(answers, Path(folder, "project"))
        return files(Path(folder, "project"))


def check_place(path: Path) -> None:
    """Raise ScaffoldError where no project can be made at the path."""
    other = "choose another path; nothing was changed"
    if path.is_symlink():
        raise ScaffoldError(f"`{path}` is a link", other, PRECONDITION)
    if path.exists() and not path.is_dir():
        raise ScaffoldError(f"`{path}` is a file", other, PRECONDITION)
    if path.is_dir() and any(path.iterdir()):
        raise ScaffoldError(f"`{path}` exists and is not empty", other, PRECONDITION)
    if path.is_dir() and path.samefile(Path.cwd()):
        remedy = f"cd .. && scaffold new {path.resolve().name}"
        raise ScaffoldError("the current folder cannot be replaced", remedy, PRECONDITION)
    if not path.parent.is_dir():
        free = not os.path.lexists(path.parent)
        remedy = f"mkdir -p {quote(str(path.parent))}" if free else other
        raise ScaffoldError(f"`{path.parent}` is not a folder", remedy, PRECONDITION)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ScaffoldError(f"`{path.parent}` is not writable", other, PRECONDITION)


@contextmanager
def staging(path: Path) -> Iterator[Path]:
    """A folder beside the path, on the same file system, that is gone afterwards."""
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        yield Path(folder).absolute() / path.name


def render(answers: dict[str, str], target: Path) -> None:
    """Render the template; the user's own copier settings have no say, and nothing is run."""
    with template_folder() as template:
        run_copy(
            str(template),
            target,
            answers,
            defaults=True,
            quiet=True,
            settings=Settings(),
            unsafe=False,
        )


def files(folder: Path) -> list[str]:
    """The files of a project, as sorted relative names."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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
    options = [*identity, "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        [*options, "add", "--all"],
        [*options, "commit", "--quiet", "--message", message],
    ):
        done = git(folder, *arguments)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ScaffoldError(
                f"git failed: {reason}", "add --no-git and commit yourself", FAILURE
            )


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, whatever repository this program was called from."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ScaffoldError(
            "git is not installed", "install git, or add --no-git", FAILURE
        ) from error
