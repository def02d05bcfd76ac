"""Tells a file that was only formatted from one that was edited, whatever program has done it.

Such a file means what the template has made, and has the same comments. Where its lines are in the
way of a change nothing is lost if they come as the template has them.
"""

import ast
import codecs
import copy as copies
import io
import itertools
import re
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from scaffold.merge.lists import HUNK
from scaffold.merge.sandbox import Copy
from scaffold.merge.soundness import parse_python
from scaffold.names import pasted, some

UNREADABLE = (ValueError, SyntaxError, RecursionError, tokenize.TokenError)
# a text of TOML, in which a # is none, or a comment
TOML_WORD = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)


def merged_in_form(copy: Copy, name: str) -> bytes | None:
    """A file in conflict as the template changes it; None where it was edited here.

    It keeps the team's form beside the lines that are in conflict, if that means what the new
    render does.
    """
    base, ours, theirs = (
        copy.ask("cat-file", "blob", f":{stage}:{name}").encode("utf-8", "surrogateescape")
        for stage in (1, 2, 3)
    )
    try:
        if meaning(name, base) != meaning(name, ours):
            return None
        wanted = meaning(name, theirs)
    except UNREADABLE:
        return None
    made = HUNK.sub(lambda hunk: hunk[3], (copy.folder / name).read_bytes())
    try:
        return made if meaning(name, made) == wanted else theirs
    except UNREADABLE:
        return theirs


def note(names: list[str], has_hooks: bool) -> list[str]:
    """What their owner should know of these files."""
    if not names:
        return []
    remedy = (
        f"pre-commit run --files {' '.join(map(pasted, names))}" if has_hooks else "format them"
    )
    return [f"{some(names)} came in part as the template formats them: {remedy}"]


def meaning(name: str, code: bytes) -> object:
    """What no formatter changes of a file; of kinds that are not known here its lines.

    Raises one of UNREADABLE where it does not parse.
    """
    kind = PurePosixPath(name).suffix
    return MEANINGS.get(kind, bytes.splitlines)(code.removeprefix(codecs.BOM_UTF8))


def _python(code: bytes) -> object:
    """Its syntax tree, with imports that follow each other one by one and sorted, and comments."""
    tree = parse_python(code)
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, field, None), list):
                setattr(node, field, list(_sorted(block)))
    return ast.dump(tree), _comments(code)


def _sorted(block: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for is_import, nodes in itertools.groupby(block, _is_import):
        if is_import:
            yield from sorted(_each(nodes), key=ast.dump)
        else:
            yield from nodes


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _each(nodes: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """An import for each name."""
    for node in nodes:
        assert isinstance(node, ast.Import | ast.ImportFrom), "they are imports"
        for alias in node.names:
            one = copies.copy(node)
            one.names = [alias]
            yield one


def _comments(code: bytes) -> list[tuple[int, str]]:
    """(words of the program before its statement, word of a comment), in their order.

    So one may be wrapped, or stand above its statement; those among imports are sorted as these.
    """
    found: list[tuple[int, str, str]] = []
    words, start, begins, among_imports = 0, 0, True, False
    for token in tokenize.tokenize(io.BytesIO(code).readline):
        if token.type == tokenize.COMMENT:
            key = token.string if among_imports else ""
            found.append((words if begins else start, key, token.string.lstrip("#")))
        elif token.type == tokenize.NEWLINE:
            begins = True
        elif token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.OP):
            if begins:
                among_imports, start = token.string in ("import", "from"), words
            begins = False
            words += token.type == tokenize.NAME and not among_imports
    found.sort(key=lambda comment: comment[:2])
    return [(at, word) for at, _, text in found for word in text.split()]


def _toml(code: bytes) -> object:
    """What it says, and its comments, sorted."""
    text = code.decode()
    return tomllib.loads(text), sorted(word for word in TOML_WORD.findall(text) if word[0] == "#")


MEANINGS: dict[str, Callable[[bytes], object]] = {".py": _python, ".pyi": _python, ".toml": _toml}
