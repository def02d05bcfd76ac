"""Looks at a rendered project before anybody else does: whatever has a syntax must parse."""

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from scaffold.errors import FAILURE, ScaffoldError

PARSERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
}


def verify(folder: Path) -> None:
    """Raise ScaffoldError where a file of a project does not parse, or is no plain file."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _damaged(name, "no plain file")
        if path.is_file() and path.suffix in PARSERS:
            try:
                PARSERS[path.suffix](path.read_text("utf-8"))
            except (SyntaxError, ValueError, yaml.YAMLError) as error:
                raise _damaged(name, str(error).splitlines()[0]) from error


def _damaged(name: Path, why: str) -> ScaffoldError:
    fact = f"the installed template is damaged: `{name}`: {why}"
    remedy = "nothing was changed; pip install --force-reinstall scaffold-train"
    return ScaffoldError(fact, remedy, FAILURE)
