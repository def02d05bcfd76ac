"""Reads what a project was made with: its `.copier-answers.yml`, which anybody may have edited.

It is data and never an order: no value is a place to load anything from. Only `key: word` is
accepted, line by line, so there are no tags, aliases or nested values that could do or cost more.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from scaffold import __version__
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.names import check_name, printable
from scaffold.template.releases import numbers, questions_of, unknown
from scaffold.template.source import Question

FILE = ".copier-answers.yml"
LARGEST = 4096  # bytes; ours has 200
SOURCE = "scaffold"  # what _src_path says in every project; it is compared and never followed
WORD = re.compile(r"""(["']?)([A-Za-z0-9._-]+)\1\Z""")
VERSION = re.compile(r"v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}\Z")
CONFLICT = re.compile(r"(<{7}|={7}|>{7}|\|{7})( |\Z)")


@dataclass(frozen=True)
class Answers:
    """What a project was made with."""

    version: str  # of scaffold, such as 0.1.0
    values: dict[str, str]  # the questions of copier.yml and their answers


def find_project(folder: Path) -> Path:
    """The project that a folder is or lies in."""
    for root in (folder, *folder.parents):
        if (root / FILE).is_symlink() or (root / FILE).exists():
            return root
    raise ScaffoldError(
        f"`{printable(str(folder))}` is in no project of scaffold",
        "cd into one, or make one: scaffold new --method fabric myproj",
        PRECONDITION,
    )


def read_answers(root: Path) -> Answers:
    """The answers of the project at root.

    Raises ScaffoldError, with the line and the key, where they are not as scaffold wrote them.
    """
    path = root / FILE
    lines = _lines(path)
    asked = {question.name: question for question in questions_of(_version(lines))}
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(": ")
        fault = _fault_of_key(key, asked, values) or _fault_of_value(value, key, asked)
        if fault:
            raise _refusal(path, number, fault)
        values[key] = value.strip("\"'")
    for key in ("_commit", "_src_path", *asked):
        if key not in values:
            raise _refusal(path, len(lines), f"`{key}` is missing")
    return Answers(values["_commit"].removeprefix("v"), {key: values[key] for key in asked})


def _version(lines: list[str]) -> str:
    """The version whose questions were asked: that which the lines tell, or the installed one."""
    told = [line.removeprefix("_commit: ") for line in lines if line.startswith("_commit: ")]
    version = told[0].removeprefix("v") if told and VERSION.match(told[0]) else __version__
    if numbers(version) > numbers(__version__):
        raise unknown(version)
    return version


def _lines(path: Path) -> list[str]:
    """The lines of the file; they are printable, and nothing that git or an editor left."""
    if path.is_symlink() or not path.is_file():
        raise _refusal(path, 0, "it is no plain file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise _refusal(path, 0, f"it has more than {LARGEST} bytes")
    lines = []
    content = content.replace(b"\r\n", b"\n")  # as git makes them where autocrlf is set
    for number, raw in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        line = raw.decode("utf-8", errors="replace")
        if raw.startswith(b"\xef\xbb\xbf"):
            raise _refusal(path, number, "it begins with a byte order mark")
        if not line.isprintable() or "\ufffd" in line:
            raise _refusal(path, number, f"`{printable(line[:80])}` is no plain text")
        if CONFLICT.match(line):
            raise _refusal(path, number, f"`{line[:80]}` is left of a merge")
        lines.append(line)
    return lines


def _fault_of_key(key: str, asked: dict[str, Question], values: dict[str, str]) -> str | None:
    if key in values:
        return f"`{key}` stands there twice"
    if key not in asked and key not in ("_commit", "_src_path"):
        return f"`{printable(key[:80])}` is no answer of scaffold"
    return None


def _fault_of_value(value: str, key: str, asked: dict[str, Question]) -> str | None:
    shown = f"`{key}` is `{printable(value[:80])}`"
    found = WORD.match(value)
    if not found or not _is_text(value):
        return f"{shown}, no plain word"
    word = found[2]
    if key == "_commit":
        return None if VERSION.match(word) else f"{shown}, no version such as v0.1.0"
    if key == "_src_path":
        return None if word == SOURCE else f"{shown} and not `{SOURCE}`"
    if asked[key].choices:
        allowed = ", ".join(asked[key].choices)
        return None if word in asked[key].choices else f"{shown}, none of: {allowed}"
    try:
        check_name(word)
    except ScaffoldError as error:
        return f"`{key}`: {error.fact}"
    return None


def _is_text(word: str) -> bool:
    """Whether YAML takes a word for text, and not for a number, a date, true or nothing."""
    try:
        return isinstance(yaml.safe_load(word), str)
    except (yaml.YAMLError, ValueError):  # a date that does not exist
        return False


def _refusal(path: Path, line: int, why: str) -> ScaffoldError:
    where = f"`{printable(str(path))}`{f' line {line}' if line else ''}"
    remedy = f"bring back what scaffold wrote: git log -p -- {FILE} shows it"
    return ScaffoldError(f"{where}: {why}", remedy, PRECONDITION)
