"""What formatters that scaffold does not know make of a file, in a few lines each."""

import io
import re
import tokenize
from collections.abc import Callable
from pathlib import Path

FROM = re.compile(r"^from (\S+) import (\w+(?:, \w+)*)$", re.MULTILINE)
IMPORT = r"(?:from|import) [^(\n]+\n"
BLOCK = re.compile(rf"^({IMPORT})((?:{IMPORT}|#[^\n]*\n|\n)*{IMPORT})", re.MULTILINE)


def single_quotes(code: str) -> str:
    """As double-quote-string-fixer of pre-commit."""
    lines = code.splitlines(keepends=True)
    for token in reversed([*tokenize.generate_tokens(io.StringIO(code).readline)]):
        (row, begin), (_, end) = token.start, token.end
        if token.type == tokenize.STRING and re.fullmatch(r'"[^"\'\\]+"', token.string):
            line = lines[row - 1]
            lines[row - 1] = f"{line[:begin]}'{token.string[1:-1]}'{line[end:]}"
    return "".join(lines)


def one_import_a_line(code: str) -> str:
    """As reorder-python-imports: one name a line, and one block, sorted."""
    lines = FROM.sub(
        lambda found: "\n".join(f"from {found[1]} import {name}" for name in found[2].split(", ")),
        code,
    )
    return BLOCK.sub(
        lambda found: found[1] + "".join(sorted(found[2].splitlines(keepends=True))), lines
    )


def marked(code: str) -> str:
    """With a byte order mark, as editors of Windows write it."""
    return f"\ufeff{code}"


FORMATS: dict[str, Callable[[str], str]] = {
    "quotes": single_quotes,
    "imports": one_import_a_line,
    "mark": marked,
}


def reformat(root: Path, kind: str) -> None:
    """Let the Python files of a project have a form."""
    for path in root.rglob("*.py"):
        path.write_text(FORMATS[kind](path.read_text("utf-8")), "utf-8")
