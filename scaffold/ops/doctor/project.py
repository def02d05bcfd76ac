"""The project here: what a merge has left in it, and which libraries its own files hide."""

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from scaffold.errors import ScaffoldError
from scaffold.names import LIBRARIES, some
from scaffold.ops.doctor.finding import Finding
from scaffold.template.answers import find_project, read_answers

CODE = ("*.py", "engine/*.py", "src/**/*.py")
MARKER = re.compile(rb"^<{7} ", re.MULTILINE)
HARMLESS = {"test"}  # what a team may call a file, for nothing imports that module of Python


def look_at(folder: Path) -> tuple[str | None, list[str], list[Finding]]:
    """Of the project that a folder lies in: method, if it is known; packages; what hinders it."""
    try:
        root = find_project(folder)
    except ScaffoldError:  # in no project: all methods are looked at
        return None, [], []
    found = [*_conflicts(root), *_hidden(root)]
    try:
        return read_answers(root).values["method"], _needs(root), found
    except ScaffoldError as error:  # training does not need the answers
        return None, [], [*found, Finding("project", "warn", error.fact, error.remedy)]


def _needs(root: Path) -> list[str]:
    """The packages that pyproject.toml lists, for any system; none where a team lists them else."""
    try:
        listed = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
        lines = [line for line in listed["project"]["dependencies"] if ";" not in line]
        return [found[0] for line in lines if (found := re.match(r"[\w.-]+", line))]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _conflicts(root: Path) -> Iterator[Finding]:
    """Python that a merge has left to a person; git, which may hang, is not asked."""
    codes = (path for kind in CODE for path in root.glob(kind) if path.is_file())
    left = [path for path in codes if os.access(path, os.R_OK) and MARKER.search(path.read_bytes())]
    if left:
        fact = f"a conflict is left in {some(sorted(str(path.relative_to(root)) for path in left))}"
        yield Finding("project", "fail", fact, "edit it and git add it; git status shows the rest")


def _hidden(root: Path) -> Iterator[Finding]:
    """Files in the root of the project, where Python looks first."""
    here = {path.stem: path.name for path in root.glob("*.py")}
    here |= {path.parent.name: f"{path.parent.name}/" for path in root.glob("*/__init__.py")}
    remedy = "rename it, and what imports it"
    if libraries := sorted(here.keys() & LIBRARIES):
        fact = f"{some([here[name] for name in libraries])} hides a library that training imports"
        yield Finding("project", "fail", fact, remedy)
    if modules := sorted(here.keys() & sys.stdlib_module_names - HARMLESS):
        fact = f"{some([here[name] for name in modules])} hides a module of Python"
        yield Finding("project", "warn", fact, remedy)
