"""Finds where else a module that has moved is named: notebooks, settings, texts.

Nothing is changed. Here alone the codemod looks for patterns: it tells a reader where to look.
"""

import re
import tokenize
from collections.abc import Iterator

LARGEST = 2**20  # bytes of a file that is looked at
# who loads a module, or something in it, by a text
LOADERS = re.compile(r"\b(import_module|__import__|run_module|find_spec|importorskip)\(")


def mentions(
    name: str, code: bytes, ours: bytes, modules: dict[str, str], defined: dict[str, set[str]]
) -> Iterator[tuple[int, str]]:
    """(line, module) of what a file of a project says of modules that have moved.

    ours: the file as the template has it, whose lines need no look. modules: {old: new}.
    defined: what stands in each of them, by which `log.Log` is told from `log.txt`.
    """
    if len(code) > LARGEST or b"\0" in code:
        return
    lines = code.decode("utf-8", "replace").splitlines()
    known = set(ours.decode("utf-8", "replace").splitlines())
    texts = _texts(lines) if name.endswith(".py") else enumerate(lines, start=1)
    patterns = [(module, _pattern(module, defined.get(module, set()))) for module in modules]
    for number, text in texts:
        if lines[number - 1] not in known:
            yield from ((number, module) for module, found in patterns if found.search(text))


def _texts(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(line, text) of the texts in Python code; one that loads a module, as the import it is."""
    code = iter(f"{line}\n" for line in lines)
    try:
        for token in tokenize.generate_tokens(lambda: next(code, "")):
            if token.type != tokenize.STRING:
                continue
            if LOADERS.search(token.line[: token.start[1]]):
                yield token.start[0], f"import {token.string[1:-1]}"
            yield from enumerate(token.string.splitlines(), start=token.start[0])
    except (tokenize.TokenError, SyntaxError):
        return


def _pattern(module: str, defined: set[str]) -> re.Pattern[str]:
    """What names a module: its file, something in it, or what runs or imports it."""
    dotted, last = re.escape(module), re.escape(module.rpartition(".")[2])
    path = rf"(?<![\w./-])(?:(?!engine/)[\w.-]+/)*{last}\.py\b"
    inside = "|".join(sorted(map(re.escape, defined))) or r"(?!)"
    return re.compile(
        rf"{path}|(?<![\w.]){dotted}\.(?:{inside})\b|(?:\bfrom|\bimport|(?<!\w)-m)\s+{dotted}\b"
    )
