"""Looks for imports that lead nowhere since a move: what they name has gone, or has not come.

Only a module that the project had, or that the template makes, can be missed: of what else is
installed nothing is known here.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pyflakes.checker import Checker, ModuleScope

from scaffold.merge.sandbox import Copy, contents, names_in
from scaffold.merge.soundness import parse_python

MODULES = (".py", ".so", ".pyd")
CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True)
class Modules:
    """Modules as paths without an ending, such as engine/checkpoint, and packages as folders."""

    there: frozenset[str]
    missing: frozenset[str]  # that the project had, or that the template makes

    def lack(self, path: str, folder: str) -> bool:
        """Whether what a file in a folder imports leads to what is missing, and to nothing else."""
        return any(self._leads(path, folder, module) for module in self.missing) and not any(
            self._leads(path, folder, module) for module in self.there
        )

    def _leads(self, path: str, folder: str, module: str) -> bool:
        """Python looks into the folder of the file, and into those that are no packages."""
        if not f"/{module}".endswith(f"/{path}"):
            return False
        root = module.removesuffix(path).rstrip("/")
        return root in ("", folder) or f"{root}/__init__" not in self.there | self.missing


class _Imports(ast.NodeVisitor):
    """What has to be there for a file to run: (line, dots, module, name in it or nothing)."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int, str, str]] = []

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(node.lineno, 0, alias.name, "") for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        self.found += [(node.lineno, node.level, module, alias.name) for alias in node.names]

    def visit_Try(self, node: ast.Try) -> None:
        if not any(_catches(handler.type) for handler in node.handlers):
            self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        # contextlib.suppress(ImportError)
        if not any(_catches(item.context_expr) for item in node.items):
            self.generic_visit(node)


def _imports(code: bytes) -> list[tuple[int, int, str, str]]:
    """Those of a file; none where it does not parse."""
    imports = _Imports()
    try:
        imports.visit(parse_python(code))
    except (ValueError, SyntaxError, RecursionError):
        return []
    return imports.found


def _catches(node: ast.expr | None) -> bool:
    """Whether it names an error of an import; a bare `except` (None) means all errors."""
    words = {
        getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(node or ast.Pass())
    }
    return node is None or bool(words & CAUGHT)


def lost_imports(copy: Copy, names: frozenset[str], moved: dict[str, str]) -> list[str]:
    """Where files of the copy import what is not there, and did not do so in the project before.

    names: of the files of the copy. moved: {name in the project: name in the copy} of what a
    release has put elsewhere.
    """
    there, had = modules(names), modules(copy.project)
    known = had | modules(names_in(copy, "new"))
    missing = known - there
    words = {module.rpartition("/")[2].encode() for module in missing}
    codes = {}
    for name in sorted(names):
        path = copy.folder / name
        if name.endswith(".py") and path.is_file() and not path.is_symlink():
            code = path.read_bytes()
            if any(word in code for word in words):
                codes[name] = code
    origins = {name: name for name in codes} | {new: old for old, new in moved.items()}
    kept = {name for name, (mode, *_) in copy.project.items() if mode.startswith("100")}
    olds = contents(
        replace(copy, entries=copy.project), sorted(kept & {origins[name] for name in codes})
    )
    lost: dict[str, None] = {}  # each once: a line may take several names of a module
    for name, code in codes.items():
        old = origins[name]
        before = {what for _, what, _ in _lost(old, olds.get(old, b""), Modules(had, known - had))}
        for line, what, package in _lost(name, code, Modules(there, missing)):
            if what not in before and not _has_name(copy, names, package, what):
                lost[f"{name}:{line} imports {what}"] = None
    return list(lost)


def lost_members(
    copy: Copy, names: frozenset[str], name: str, before: bytes, after: bytes
) -> list[str]:
    """Where a file takes from a module of the project what that does not give, since a move.

    As train.py does whose model.py is the team's own, and lacks what a release has added to it.
    """
    if not name.endswith(".py"):
        return []
    there, (*up, _) = modules(names), PurePosixPath(name).parts
    known = {found[1:] for found in _imports(before)}
    lost = []
    for line, dots, module, member in _imports(after):
        if member in ("", "*") or (dots, module, member) in known:
            continue
        roots = [up[: len(up) - dots + 1]] if dots else [up, []]
        for start in roots:
            package = "/".join([*start, *filter(None, module.split("."))])
            files = names & {f"{package}.py", f"{package}/__init__.py"}
            if files:
                gives = f"{package}/{member}" in there or _has_name(copy, files, package, member)
                what = "." * dots + ".".join(filter(None, [module, member]))
                lost += [] if gives else [f"{name}:{line} imports {what}"]
                break
    return lost


def modules(names: Iterable[str]) -> frozenset[str]:
    """The modules that files are, compiled ones too, and the packages that they lie in."""
    found: set[str] = set()
    for path in (PurePosixPath(name) for name in names if name.endswith(MODULES)):
        module = path.parent / path.name.partition(".")[0]
        found |= {str(module), *map(str, module.parents)}
    return frozenset(found)


def _lost(name: str, code: bytes, project: Modules) -> Iterator[tuple[int, str, str]]:
    """(line, module, path of what may have it as a name) of imports that lead nowhere."""
    up = PurePosixPath(name).parts[:-1]
    folder = "/".join(up)
    for line, dots, module, member in _imports(code):
        if not dots and module.partition(".")[0] in sys.stdlib_module_names:
            continue
        start = up[: len(up) - dots + 1] if dots else ()
        package = "/".join([*start, *filter(None, module.split("."))])
        if project.lack(package, folder):
            yield line, "." * dots + module, ""
        elif member and project.lack(f"{package}/{member}".lstrip("/"), folder):
            yield line, "." * dots + ".".join(filter(None, [module, member])), package


def _has_name(copy: Copy, names: Iterable[str], package: str, what: str) -> bool:
    """Whether a package that lacks a module has its name all the same, or may have any name."""
    wanted = {what.rpartition(".")[2], "__getattr__", "__path__"}
    ends = (f"/{package}.py", f"/{package}/__init__.py")
    for name in names if package else ():
        path = copy.folder / name
        if f"/{name}".endswith(ends) and path.is_file():
            try:
                scopes = Checker(parse_python(path.read_bytes())).deadScopes
            except (ValueError, SyntaxError, RecursionError):
                return True
            top = next(scope for scope in scopes if isinstance(scope, ModuleScope))
            if top.importStarred or wanted & top.keys():
                return True
    return False
