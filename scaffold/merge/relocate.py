"""Follows the renames of releases in a project, before anything is merged.

The files of the project and of the render that it was made from move to where the new template has
them, and what they say of each other follows. So git need detect no rename of ours, and a team's
own code goes on importing what it did.
"""

import ast
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import libcst as cst

from scaffold.files import files_in
from scaffold.merge.codemod.align import aligned
from scaffold.merge.codemod.complete import completed
from scaffold.merge.codemod.mentions import mentions
from scaffold.merge.codemod.nodes import imported_modules
from scaffold.merge.codemod.rewrite import rewritten
from scaffold.merge.sandbox import Copy, contents, rearranged
from scaffold.merge.three_way import Outcome
from scaffold.template.renames import Name, Renames

UNREADABLE = (cst.ParserSyntaxError, UnicodeDecodeError, RecursionError)
PLAIN = "100"  # how the mode of a plain file begins


@dataclass(frozen=True)
class Home:
    """Where the modules of a project lie, and how its code calls them."""

    folder: str = ""  # such as "src/digits/"; empty where they lie in the project's root
    package: str = ""  # such as "digits"; empty where they import each other by their bare names


@dataclass
class Relocated:
    """What was moved in the copy of a project."""

    copy: Copy
    home: Home = Home()
    defined: dict[str, set[str]] = field(default_factory=dict)  # what stands in a renamed module
    renames: Renames = field(default_factory=Renames)  # by the names that the project imports
    moved: dict[str, str] = field(default_factory=dict)  # {file: where it is now}
    unparsed: list[str] = field(default_factory=list)  # Python files that stay as they are


def relocate(copy: Copy, old: Path, new: Path, renames: Renames) -> Relocated:
    """Move and rewrite the copy of a project and, in their folders, both renders."""
    ours = {Path(name).stem for name in files_in(old) if name.endswith(".py") and "/" not in name}
    renames = renames.within(ours)
    if not (renames.modules or renames.names):
        return Relocated(copy)
    sources = contents(copy, [n for n, (mode, *_) in copy.entries.items() if _is_code(n, mode)])
    home = find_home(sources, ours)
    known = renames
    if home.package:
        known = renames.under(home.package)
        known = Renames(renames.modules | known.modules, renames.names | known.names)
    moved = {
        f"{home.folder}{name}": f"{home.folder}{target}"
        for name, target in _files(renames).items()
        if f"{home.folder}{name}" in sources
    }
    done = Relocated(copy, home, renames=known, moved=moved)
    for module in renames.modules:
        tree = ast.parse((old / f"{module.replace('.', '/')}.py").read_bytes())
        stands = {getattr(node, "name", "") for node in tree.body} - {""}
        done.defined[module] = done.defined[f"{home.package}.{module}"] = stands
    touched = {*renames.modules, *(module for module, _ in renames.names)}
    words = {module.rpartition(".")[2] for module in touched}
    may_name = re.compile(rb"\b(%s)\b" % "|".join(sorted(words)).encode())
    codes: dict[str, bytes] = {}  # by the names of today
    relative: set[str] = set()
    for name, code in sources.items():
        if not may_name.search(code):
            continue
        target = moved.get(name, name)
        module, after = module_of(name, home), module_of(target, home)
        try:
            codes[target] = rewritten(code, known, module, after, _beside(name, home, sources))
        except UNREADABLE:
            done.unparsed.append(target)
        if any(dots for _, dots in _imported(code)):
            relative.add(target)
    for render, table in ((old, renames), (new, Renames())):
        _move_render(render, table, home, copy, relative)
    for name in sorted(set(files_in(old)) & set(files_in(new)) & codes.keys()):
        texts = (old / name).read_bytes(), codes[name], (new / name).read_bytes()
        first, codes[name] = aligned(*texts, module_of(name, home))
        (old / name).write_bytes(first)
    names = {moved.get(name, name): name for name in sources}
    changed = {names[name]: code for name, code in codes.items() if code != sources[names[name]]}
    done.copy = rearranged(copy, moved, changed)
    return done


def find_home(sources: dict[str, bytes], ours: set[str]) -> Home:
    """Where most of the template's modules lie in a project, and the package that they are in."""
    folders = Counter(str(path.parent) for path in map(PurePosixPath, sources) if path.stem in ours)
    # of equals the one that is nearest to the root
    best = min(folders, key=lambda name: (-folders[name], name.count("/"), name), default=".")
    if best == ".":
        return Home()
    parts = best.split("/")
    inside = [code for name, code in sources.items() if name.startswith(f"{best}/")]
    called = {name for code in inside for name, _ in _imported(code)}
    dots = any(dots for code in inside for _, dots in _imported(code))
    for first in range(len(parts)):
        package = ".".join(parts[first:])
        if any(f"{name}.".startswith(f"{package}.") for name in called):
            return Home(f"{best}/", package)
    return Home(f"{best}/", parts[-1] if dots else "")


def module_of(name: str, home: Home) -> str:
    """The dotted name of a file, as the project's code imports it."""
    path = name.removesuffix(".py").split("/")
    if home.folder and name.startswith(home.folder):
        path = [*filter(None, home.package.split(".")), *path[home.folder.count("/") :]]
    return ".".join(path)


def _imported(code: bytes) -> list[tuple[str, int]]:
    try:
        return imported_modules(cst.parse_module(code))
    except UNREADABLE:
        return []


def _is_code(name: str, mode: str) -> bool:
    return name.endswith(".py") and mode.startswith(PLAIN)


def _files(renames: Renames) -> dict[str, str]:
    """The files of the modules that have moved."""
    return {
        f"{old.replace('.', '/')}.py": f"{new.replace('.', '/')}.py"
        for old, new in renames.modules.items()
    }


def _beside(name: str, home: Home, sources: dict[str, bytes]) -> frozenset[str]:
    """The modules beside a file that lies elsewhere in the project: bare names mean them."""
    folder = name.rpartition("/")[0]
    if f"{folder}/" == home.folder or (not folder and not home.folder):
        return frozenset()
    paths = map(PurePosixPath, sources)
    return frozenset(path.stem for path in paths if str(path.parent) == (folder or "."))


def _move_render(
    render: Path, renames: Renames, home: Home, copy: Copy, relative: set[str]
) -> None:
    """Bring a render to the files and the names of today, and into the package of the project.

    relative: the files in which the project names its modules from where they are.
    """
    table, names = _files(renames), files_in(render)
    modules = {
        module_of(table.get(name, name), Home())
        for name in names
        if name.endswith(".py") and not name.startswith("tests/")
    }
    inside = Renames({module: f"{home.package}.{module}" for module in modules})
    folder = render.with_name(f"{render.name}-moved")
    for name in names:
        here, target = render / name, table.get(name, name)
        is_module = module_of(target, Home()) in modules
        if is_module or f"{home.folder}{target}" in copy.entries:
            target = f"{home.folder}{target}"
        if name.endswith(".py"):
            before, after = module_of(name, Home()), module_of(table.get(name, name), Home())
            code = here.read_bytes()
            if renames.modules:
                code = rewritten(code, renames, before, after, frozenset())
            if home.package:
                last = module_of(target, home)
                code = rewritten(code, inside, after, last, relative=target in relative)
            here.write_bytes(code)
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        here.rename(folder / target)
    shutil.rmtree(render)
    folder.rename(render)


def complete(followed: Relocated) -> None:
    """Import what has left a file, and what the team's own code in it uses all the same."""
    left: dict[str, dict[str, Name]] = {}  # by the file that had it
    for (module, name), target in followed.renames.names.items():
        path = f"{followed.renames.modules.get(module, module).replace('.', '/')}.py"
        folder = followed.home.folder.removesuffix(f"{followed.home.package.replace('.', '/')}/")
        left.setdefault(f"{folder}{path}", {})[name] = target
    for path, names in left.items():
        file = followed.copy.folder / path
        if not file.is_file():
            continue
        code = file.read_bytes()
        made = completed(code, names)
        if made != code:
            file.write_bytes(made)
            followed.copy.ask("add", "--force", "--", f":(literal){path}")


def tell_moves(followed: Relocated, outcome: Outcome, new: Path) -> None:
    """Tell what has moved, and where else it is named."""
    outcome.moved = {
        name: target
        for name, target in followed.moved.items()
        if target in {*outcome.added, *outcome.conflicts}
    }
    outcome.added = [name for name in outcome.added if name not in outcome.moved.values()]
    outcome.removed = [name for name in outcome.removed if name not in outcome.moved]
    outcome.unparsed = followed.unparsed
    if not outcome.moved:
        return
    copy = followed.copy
    for name in copy.ask("ls-files", "-z").split("\0"):
        path, ours = copy.folder / name, new / name
        if not name or path.is_symlink() or not path.is_file():
            continue
        known = ours.read_bytes() if ours.is_file() else b""
        found = mentions(name, path.read_bytes(), known, followed.renames.modules, followed.defined)
        outcome.mentions += [
            f"{name}:{line} names {module}, now {followed.renames.modules[module]}"
            for line, module in found
        ]
