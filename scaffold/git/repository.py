"""A project in its git repository: where it lies there, and what a merge has left in it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.run import AGAIN, QUIET, failed, git
from scaffold.names import printable

# what git says where there is no repository, and not one that it distrusts or that is broken
NOWHERE = "not a git repository (or any"


@dataclass(frozen=True)
class Place:
    """A project in a repository."""

    root: Path  # the folder of the project
    top: Path  # of the repository
    git_dir: Path
    objects: Path  # where git keeps what it stores
    prefix: str  # of the project in the repository: "" or such as "services/training/"
    head: str  # the commit that is checked out

    def name(self, path: str) -> str:
        """How a file of the repository is called from the project."""
        inside = path.startswith(self.prefix)
        return path.removeprefix(self.prefix) if inside else f"/{path}"


def find_place(root: Path) -> Place:
    """The place of the project at root.

    Raises ScaffoldError where git does not keep it, for then nothing could be undone.
    """
    objects = ("--git-path", "objects")
    wanted = ("--show-toplevel", "--absolute-git-dir", *objects, "--show-prefix", "HEAD")
    found = git(root, "rev-parse", *wanted)
    told = found.stdout.split("\n")
    if len(told) < 5:
        if NOWHERE not in found.stderr:  # as one that belongs to somebody else
            raise failed(root, found.stderr, AGAIN)
        raise ScaffoldError(
            f"`{printable(str(root))}` is in no git repository, so nothing could be undone",
            # without what the user has git ignore elsewhere, such as *.gz
            "git init && git -c core.excludesFile=/dev/null add --all && "
            'git commit -m "Keep the project"',
            PRECONDITION,
        )
    top, git_dir, stored, prefix, head = told[:5]
    if found.returncode != 0:
        raise ScaffoldError(
            "the repository has no commit yet, so nothing could be undone",
            'git add --all && git commit --allow-empty -m "Start"',
            PRECONDITION,
        )
    # git tells it from the project, and knows --path-format only since 2.31
    return Place(root, Path(top), Path(git_dir), (root / stored).resolve(), prefix, head)


def way_back(folder: Path, name: str) -> str:
    """The command that brings back a file of this name, which a folder or one above it had.

    Empty where git does not have it, or the file has only moved.
    """
    inside = git(folder, "rev-parse", "--show-prefix") if shutil.which("git") else None
    if inside is None or inside.returncode != 0:
        return ""
    up = inside.stdout.rstrip("\n").split("/")[:-1]
    # as git and as a shell in that folder call it, the nearest first
    paths = {"/".join([*up[: len(up) - n], name]): f"{'../' * n}{name}" for n in range(len(up) + 1)}
    listed = git(folder, "ls-tree", "-z", "--full-tree", "--name-only", "HEAD", "--", *paths)
    kept = listed.stdout.split("\0")
    if found := next((shown for path, shown in paths.items() if path in kept), None):
        return f"git checkout HEAD -- {found}"
    # of all folders, or what has moved to another would look removed; each with the commit before
    words = ("log", "--no-color", "-M", "--diff-filter=D", "--format=:%p", "--name-only")
    quiet = ("-c", "log.showSignature=false", "-c", "core.quotePath=false")
    commit = ""
    for line in git(folder, *quiet, *words, "--", f":(top,glob)**/{name}").stdout.splitlines():
        if line.startswith(":"):
            commit = line[1:]
        elif line in paths:
            return f"git checkout {commit} -- {paths[line]}"
    return ""


def conflicts(root: Path) -> list[str]:
    """The files of the project at root that a merge has left to its owner; without git, none."""
    if not shutil.which("git"):
        return []
    # not `git diff`, which writes what it has seen of the files into the index
    listed = git(root, *QUIET, "ls-files", "--unmerged", "-z").stdout.split("\0")
    return sorted({printable(entry.partition("\t")[2]) for entry in filter(None, listed)})


def ignored(folder: Path, names: list[str]) -> list[str]:
    """Those of the files of a folder that its repository ignores."""
    listed = "".join(f"{name}\0" for name in names)
    told = git(folder, *QUIET, "check-ignore", "-z", "--stdin", text=listed).stdout
    return list(filter(None, told.split("\0")))
