"""Imports a name that has gone to another module, where code in its old one still uses it."""

import ast
from collections.abc import Iterator
from symtable import SymbolTable, symtable

from scaffold.template.renames import Name


def completed(code: bytes, left: dict[str, Name]) -> bytes:
    """The code with an import of what it uses, does not bind, and had once.

    left: {name: (module, name) of today}. Code that does not parse, as one with a conflict, stays.
    """
    try:
        tree = ast.parse(code)
        missing = _missing(code.decode("utf-8"))
    except (SyntaxError, ValueError, RecursionError):
        return code
    lines = [
        f"from {module} import {new}" + (f" as {name}" if new != name else "")
        for name, (module, new) in sorted(left.items())
        if name in missing
    ]
    if not lines:
        return code
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    docstring = tree.body[:1] if ast.get_docstring(tree) is not None else []
    last = max((node.end_lineno or 0 for node in [*imports, *docstring]), default=0)
    parts = code.splitlines(keepends=True)
    end = "\r\n" if parts[0].endswith(b"\r\n") else "\n"
    parts[last:last] = [f"{line}{end}".encode() for line in lines]
    return b"".join(parts)


def _missing(code: str) -> set[str]:
    """The names that a module uses and nothing in it binds, built-in ones among them."""
    module = symtable(code, "", "exec")
    bound = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    return set(_globals(module)) - bound


def _globals(scope: SymbolTable) -> Iterator[str]:
    """The names that a scope, or one in it, takes from the module."""
    for symbol in scope.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or scope.get_type() == "module"):
            yield symbol.get_name()
    for inner in scope.get_children():
        yield from _globals(inner)
