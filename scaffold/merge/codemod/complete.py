"""Imports a name that has gone to another module, where code in its old one still uses it."""

import ast

from scaffold.template.renames import Name


def completed(code: bytes, left: dict[str, Name]) -> bytes:
    """The code with an import of what it uses, does not bind, and had once.

    left: {name: (module, name) of today}. Code that does not parse, as one with a conflict, stays.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return code
    used: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
    lines = [
        f"from {module} import {new}" + (f" as {name}" if new != name else "")
        for name, (module, new) in sorted(left.items())
        if name in used - bound
    ]
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    if not lines or not imports:
        return code
    last = imports[-1].end_lineno or 0
    parts = code.splitlines(keepends=True)
    end = "\r\n" if parts[last - 1].endswith(b"\r\n") else "\n"
    parts[last:last] = [f"{line}{end}".encode() for line in lines]
    return b"".join(parts)
