"""Reads what a project was made with: its `.copier-answers.yml`, which anybody may have edited.

It is data and never an order: no value is a place to load anything from. However YAML lays it out,
only a mapping of words is accepted, read event by event, so there are no tags, aliases or nested
values that could do or cost more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from scaffold import __version__
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git.repository import way_back
from scaffold.names import check_name, printable
from scaffold.template.releases import numbers, questions_of, unknown
from scaffold.template.source import Question

FILE = ".copier-answers.yml"
LARGEST = 4096  # bytes; ours has 200
SOURCE = "scaffold"  # what _src_path says in every project; it is compared and never followed
WORD = re.compile(r"[A-Za-z0-9._-]+\Z")
VERSION = re.compile(r"v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}\Z")
SETTLE = (
    "take the lines of one side, here and in each file that scaffold status lists; or undo the "
    "merge, scaffold switch (or update) as the other side did, commit, and merge again"
)
CONFLICT = re.compile(r"(<{7}|={7}|>{7}|\|{7})( |\Z)")


@dataclass(frozen=True)
class Answers:
    """What a project was made with."""

    version: str  # of scaffold, such as 0.1.0
    values: dict[str, str]  # the questions of copier.yml and their answers


class Unmerged(ScaffoldError):
    """The answers have conflicts of a merge in them."""


class Entry(NamedTuple):
    """A key and its value in the file."""

    key: str
    value: str | None  # None where it is no plain word
    shown: str  # how the value stands there
    line: int


def find_project(folder: Path) -> Path:
    """The project that a folder is or lies in."""
    for root in (folder, *folder.parents):
        if (root / FILE).is_symlink() or (root / FILE).exists():
            return root
    remedy = "cd into one, or make one: scaffold new --method fabric myproj"
    if command := way_back(folder, FILE):
        remedy = f"cd into one, or bring back the file that makes this one: {command}"
    fact = f"`{printable(str(folder))}` is in no project of scaffold"
    raise ScaffoldError(fact, remedy, PRECONDITION)


def read_answers(root: Path) -> Answers:
    """The answers of the project at root.

    Raises ScaffoldError, with the line and the key, where they are not as scaffold wrote them.
    """
    path = root / FILE
    lines = _lines(path)
    entries = list(_entries(path, lines))
    asked = {question.name: question for question in questions_of(_version(entries))}
    values: dict[str, str] = {}
    for entry in entries:
        fault = _fault_of_key(entry.key, asked, values) or _fault_of_value(entry, asked)
        if fault:
            raise _refusal(path, entry.line, fault)
        values[entry.key] = str(entry.value)
    for key in ("_commit", "_src_path", *asked):
        if key not in values:
            raise _refusal(path, len(lines), f"`{key}` is missing")
    return Answers(values["_commit"].removeprefix("v"), {key: values[key] for key in asked})


def _version(entries: list[Entry]) -> str:
    """The version whose questions were asked: that which the file tells, or the installed one."""
    told = [entry.value or "" for entry in entries if entry.key == "_commit"]
    version = told[0].removeprefix("v") if told and VERSION.match(told[0]) else __version__
    if numbers(version) > numbers(__version__):
        raise unknown(version)
    return version


def _entries(path: Path, lines: list[str]) -> Iterator[Entry]:
    """What stands in the file, up to the first value that is no plain word."""
    key, is_inside, documents = None, False, 0
    for event in _events(path, lines):
        assert event.start_mark, "what is read from a text has its place there"
        number, column = event.start_mark.line, event.start_mark.column
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _no_answer(path, lines, number, "begins a second document")
        elif isinstance(event, yaml.NodeEvent):
            is_bare = not event.anchor and getattr(event, "tag", "an alias") is None
            if is_bare and not is_inside and isinstance(event, yaml.MappingStartEvent):
                is_inside = True
            elif key is not None:
                value = None
                if is_bare and isinstance(event, yaml.ScalarEvent) and _is_word(event):
                    value = event.value
                yield Entry(key, value, lines[number][column:].strip(), number + 1)
                if value is None:
                    return
                key = None
            elif is_bare and is_inside and isinstance(event, yaml.ScalarEvent):
                key = event.value
            else:
                raise _no_answer(path, lines, number, "is no answer of scaffold")


def _events(path: Path, lines: list[str]) -> Iterator[yaml.Event]:
    """What YAML reads, one thing after the other."""
    try:
        yield from yaml.parse("\n".join(lines), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        begun = isinstance(error, yaml.scanner.ScannerError)  # what it cannot end, it has begun
        mark = (error.context_mark if begun else None) or error.problem_mark
        raise _no_answer(path, lines, mark.line if mark else 0, "is no YAML") from error


def _no_answer(path: Path, lines: list[str], number: int, why: str) -> ScaffoldError:
    number = min(number, len(lines) - 1)
    return _refusal(path, number + 1, f"`{printable(lines[number][:80])}` {why}")


def _is_word(event: yaml.ScalarEvent) -> bool:
    """Whether it is a word, and one that YAML takes for text: in quotes it does so with any."""
    return bool(WORD.match(event.value)) and (bool(event.style) or _is_text(event.value))


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
            refusal = _refusal(path, number, f"`{line[:80]}` is left of a merge")
            raise Unmerged(refusal.fact, SETTLE, PRECONDITION)
        lines.append(line)
    return lines


def _fault_of_key(key: str, asked: dict[str, Question], values: dict[str, str]) -> str | None:
    if key in values:
        return f"`{key}` stands there twice"
    if key not in asked and key not in ("_commit", "_src_path"):
        return f"`{printable(key[:80])}` is no answer of scaffold"
    return None


def _fault_of_value(entry: Entry, asked: dict[str, Question]) -> str | None:
    key, word = entry.key, entry.value
    shown = f"`{key}` is `{printable(entry.shown[:80])}`"
    if word is None:
        return f"{shown}, no plain word"
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
