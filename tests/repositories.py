"""Git repositories that tests make, look at and change."""

import subprocess
from pathlib import Path

from scaffold.git.run import git


def repository(folder: Path) -> Path:
    """A git repository of a folder, with a first commit of all that is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    call(folder, "init", "--quiet", "--initial-branch=main")
    call(folder, "config", "user.name", "team")
    call(folder, "config", "user.email", "team@localhost")
    commit(folder)
    return folder


def call(folder: Path, *words: str) -> str:
    done = git(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commit(folder: Path) -> None:
    call(folder, "add", "--all", "--force")
    call(folder, "commit", "--quiet", "--allow-empty", "--message", "edits")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(root: Path) -> dict[str, str]:
    """All files of a project, but those of git and what Python compiles."""
    return {
        str(path.relative_to(root)): path.read_bytes().decode(errors="surrogateescape")
        for path in root.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & {*path.relative_to(root).parts}
    }


def state(root: Path) -> tuple[str, str, dict[str, str]]:
    """All that a move could change: the commit, what git status says, and the files."""
    return call(root, "rev-parse", "HEAD"), call(root, "status", "--porcelain"), content(root)


def conflicts(ours: list[str], base: list[str], theirs: list[str], folder: Path) -> bool:
    """Whether git cannot merge the change of method with the user's."""
    for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
        (folder / name).write_text("".join(text))
    command = ["git", "merge-file", "-p", "-q", "ours", "base", "theirs"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0
