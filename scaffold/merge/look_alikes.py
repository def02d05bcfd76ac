"""Looks for code that is like what a move changes, and that it does not reach: variants, copies."""

from pathlib import Path

from scaffold.files import files_in
from scaffold.merge.collisions import PLAIN
from scaffold.merge.sandbox import Copy, other_projects
from scaffold.names import some


def look_alikes(copy: Copy, old: Path, new: Path, changed: set[str]) -> list[str]:
    """What is told of files that are like one of the old render, and stay as they were.

    As where a team has two files in the place of train.py: git follows one of them. What is like it
    has half of its lines, and half of those that are no more. changed: the files that the move has
    changed.
    """
    others = other_projects(copy)
    sources = {
        name: _lines((copy.folder / name).read_bytes())
        for name, (mode, *_) in copy.entries.items()
        if name.endswith(".py") and mode.startswith(PLAIN)
        if name not in changed and not name.startswith(others) and (copy.folder / name).is_file()
    }
    told = []
    for name in set(files_in(old)) & set(files_in(new)):
        was, is_now = (_lines((side / name).read_bytes()) for side in (old, new))
        gone = was - is_now
        alike = [
            other
            for other, lines in sources.items()
            if gone and 2 * len(gone & lines) >= len(gone) and 2 * len(was & lines) >= len(was)
        ]
        if name.endswith(".py") and alike:
            told.append(f"like the old `{name}`, and as before: {some(sorted(alike))}")
    return sorted(told)


def _lines(code: bytes) -> set[bytes]:
    return {line.strip() for line in code.splitlines()} - {b""}
