"""Looks at what was merged without a conflict: whether it still parses, and what it names."""

import ast
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import yaml
from pyflakes.checker import Checker
from pyflakes.messages import UndefinedExport, UndefinedLocal, UndefinedName


def _parse_yaml(code: bytes) -> None:
    for _ in yaml.compose_all(code, yaml.SafeLoader):  # builds nothing, so any tag will do
        pass


def parse_python(code: bytes) -> ast.Module:
    """The code; of what Python warns in it, its author is told when it runs."""
    with warnings.catch_warnings(action="ignore"):
        return ast.parse(code)


PARSERS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    ".py": ("Python", parse_python),
    ".toml": ("TOML", lambda code: tomllib.loads(code.decode())),
    ".yaml": ("YAML", _parse_yaml),
    ".yml": ("YAML", _parse_yaml),
}
LOOKED_AT = tuple(PARSERS)


def damage(name: str, before: bytes, after: bytes) -> str:
    """Why a file does not parse any more that did; empty where it does, or did not."""
    kind, parse = PARSERS.get(Path(name).suffix, ("", lambda _: None))
    if before == after or _reason(parse, before):
        return ""
    reason = _reason(parse, after)
    return f"merged, and is no {kind} any more: {reason}" if reason else ""


def _reason(parse: Callable[[bytes], object], code: bytes) -> str:
    try:
        parse(code)
    except (ValueError, SyntaxError, RecursionError, yaml.YAMLError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def lost_names(name: str, before: bytes, after: bytes) -> list[str]:
    """Where a Python file uses what nothing defines, and did not before it was merged."""
    if not name.endswith(".py"):
        return []
    known = {what for _, what in _undefined(before)}
    return [f"{name}:{line} uses {what}" for line, what in _undefined(after) if what not in known]


def _undefined(code: bytes) -> list[tuple[int, str]]:
    """(line, name) of what a file uses and does not define; none where it does not parse."""
    try:
        found = Checker(parse_python(code)).messages
    except (ValueError, SyntaxError, RecursionError):
        return []
    kinds = (UndefinedName, UndefinedLocal, UndefinedExport)
    return sorted(
        (each.lineno, str(each.message_args[0])) for each in found if isinstance(each, kinds)
    )
