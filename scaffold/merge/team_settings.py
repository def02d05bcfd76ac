"""Leaves a team its own settings of a formatter, and its own hooks: an update adds none to them."""

import re
import tomllib
from pathlib import Path

from scaffold.git.repository import Place
from scaffold.merge.sandbox import Copy

PROJECT = "pyproject.toml"
HOOKS = ".pre-commit-config.yaml"
FILES = ("ruff.toml", ".ruff.toml")
TABLES = {"ruff", "black"}
# each table of ruff, up to the next of something else
OURS = re.compile(rb"^\[tool\.ruff[].].*\n(?:(?!\[).*\n)*", re.MULTILINE)


def has_settings(place: Place, copy: Copy) -> bool:
    """Whether a formatter has settings in the project, or above it in the repository."""
    own = any(Path(name).name in FILES for name in copy.entries)
    return own or any(_has(folder) for folder in _folders(place))


def has_hooks(place: Place) -> bool:
    """Whether there are hooks of pre-commit in the project, or above it in the repository."""
    return any((folder / HOOKS).exists() for folder in _folders(place))


def leave(place: Place, copy: Copy, old: Path, new: Path) -> None:
    """Take out of both renders what the team has otherwise, or has not at all."""
    project = _folders(place)[0]
    theirs = has_settings(place, copy)
    before = (old / PROJECT).read_bytes() if (old / PROJECT).is_file() else b""
    if not ("ruff" in _tables(project) if OURS.search(before) else not theirs):
        for render in (old, new):
            if (render / PROJECT).is_file():
                path = render / PROJECT
                path.write_bytes(OURS.sub(b"", path.read_bytes()))
    if not (HOOKS in copy.entries if (old / HOOKS).exists() else not (theirs or has_hooks(place))):
        for render in (old, new):
            (render / HOOKS).unlink(missing_ok=True)


def _folders(place: Place) -> list[Path]:
    """The folder of the project, and those above it in the repository."""
    project = Path(place.prefix)
    return [place.top / folder for folder in (project, *project.parents)]


def _has(folder: Path) -> bool:
    return any((folder / name).exists() for name in FILES) or bool(TABLES & _tables(folder))


def _tables(folder: Path) -> set[str]:
    """The tools that pyproject.toml has settings for; none where it cannot be read."""
    try:
        tool = tomllib.loads((folder / PROJECT).read_text("utf-8")).get("tool")
    except (OSError, ValueError):
        return set()
    return set(tool) if isinstance(tool, dict) else set()
