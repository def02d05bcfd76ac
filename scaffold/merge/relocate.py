"""Follows the renames of releases in a project, and of its team, before anything is merged.

The files of the project and of the render that it was made from move to where the new template has
them, and what they say of each other follows. So git need detect no rename of ours, and a team's
own code goes on importing what it did. Where a team has moved our modules into a folder or a
package, both renders move there, too.
"""

import ast
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scaffold.files import alike, files_in
from scaffold.merge.codemod.align import aligned
from scaffold.merge.codemod.complete import completed
from scaffold.merge.codemod.mentions import mentions
from scaffold.merge.codemod.rewrite import UNREADABLE, rewritten
from scaffold.merge.collisions import PLAIN
from scaffold.merge.home import Dots, Home, file_of, find_dots, find_home
from scaffold.merge.launch_lines import TOLD_IN, follow
from scaffold.merge.sandbox import Copy, contents, names_in, other_projects, rearranged
from scaffold.merge.three_way import Outcome
from scaffold.template.renames import Name, Renames


@dataclass
class Relocated:
    """What was moved in the copy of a project."""

    copy: Copy
    home: Home = field(default_factory=Home)
    renames: Renames = field(default_factory=Renames)  # by the names that the project imports
    defined: dict[str, set[str]] = field(default_factory=dict)  # what stands in a renamed module
    moved: dict[str, str] = field(default_factory=dict)  # {file: where it is now}
    unparsed: list[str] = field(default_factory=list)  # Python files that stay as they are
    unsure: list[str] = field(default_factory=list)  # uses that may be of what has moved


def relocate(copy: Copy, old: Path, new: Path, renames: Renames) -> Relocated:
    """Move and rewrite the copy of a project and, in their folders, both renders."""
    ours = {Path(name).stem for name in files_in(old) if name.endswith(".py") and "/" not in name}
    made = {Home().module(name) for name in files_in(old) if name.endswith(".py")}
    renames = renames.within(made)
    others, modes = other_projects(copy), {n: mode for n, (mode, *_) in copy.entries.items()}
    wanted = [n for n, mode in modes.items() if _is_code(n, mode) and not n.startswith(others)]
    sources = contents(copy, wanted)
    home = find_home(sources, ours)
    if not (renames or home.folder):
        return Relocated(copy)
    # what a team has removed, or made a package or a link of, is theirs
    gone = {module for module in made if f"{home.folder}{file_of(module)}" not in sources}
    known = renames.within(made - gone) if gone else renames
    moved = {f"{home.folder}{a}": f"{home.folder}{b}" for a, b in _files(known).items()}
    if home.package:  # some may run by their bare names all the same
        inside = known.under(home.package)
        known = Renames(known.modules | inside.modules, known.names | inside.names)
    done = Relocated(copy, home, known, _defined(old, renames, home), moved)
    dots = find_dots(sources, home, moved)
    untouched = set() if home.package else _untouched(sources, old, home.folder)
    edited = {name: code for name, code in sources.items() if name not in untouched}
    codes = _rewrite(edited, done, sources) if renames else {}
    modules = _modules(files_in(old), _files(renames)) | _modules(files_in(new), {})
    # what is the same in both is not merged, whatever it says
    kept = set() if renames else alike(old, new)
    for render, table in ((old, renames), (new, Renames())):
        _move_render(render, table, modules, home, copy, dots, untouched, kept)
    if home.folder:
        follow(sources | contents(copy, [n for n in TOLD_IN if n in copy.entries]), old, new, home)
    for name in sorted(set(files_in(old)) & set(files_in(new)) & codes.keys()):
        texts = (old / name).read_bytes(), codes[name], (new / name).read_bytes()
        with suppress(*UNREADABLE):
            first, codes[name] = aligned(*texts, home.module(name))
            (old / name).write_bytes(first)
    names = {moved.get(name, name): name for name in sources}
    changed = {names[name]: code for name, code in codes.items() if code != sources[names[name]]}
    done.copy = rearranged(copy, moved, changed)
    return done


def _untouched(sources: dict[str, bytes], old: Path, folder: str) -> set[str]:
    """The files of the project that are as rendered: a merge takes those of the new render.

    So they are moved and not read, which takes most of the time where a team has edited little.
    """
    names = {folder + name: old / name for name in files_in(old)}
    return {name for name, path in names.items() if sources.get(name) == path.read_bytes()}


def _rewrite(edited: dict[str, bytes], done: Relocated, sources: Iterable[str]) -> dict[str, bytes]:
    """The edited code that may name what has moved, by the files of today."""
    touched = {*done.renames.modules, *(module for module, _ in done.renames.names)}
    words = {module.rpartition(".")[2] for module in touched}
    may_name = re.compile(rb"\b(%s)\b" % "|".join(sorted(words)).encode())
    codes: dict[str, bytes] = {}
    for name, code in edited.items():
        if not may_name.search(code):
            continue
        target, others = done.moved.get(name, name), done.home.beside(name, sources)
        before, after = done.home.module(name), done.home.module(target)
        try:
            made = rewritten(code, done.renames, before, after, others)
        except UNREADABLE:
            done.unparsed.append(target)
            continue
        if "engine" in others and made.code != code:  # it would mean the other one
            done.unparsed.append(target)
            continue
        codes[target] = made.code
        done.unsure += [f"{target} uses {old}, now {new}" for old, new in made.unsure]
    return codes


def _defined(old: Path, renames: Renames, home: Home) -> dict[str, set[str]]:
    """What stands in each module that has moved, by the names that the project has for it."""
    found = {}
    for module in renames.modules:
        stands: set[str] = set()
        for node in ast.parse((old / file_of(module)).read_bytes()).body:
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            stands |= {getattr(target, "id", getattr(target, "name", "")) for target in targets}
        found[module] = found[home.module(f"{home.folder}{module}.py")] = stands - {""}
    return found


def _is_code(name: str, mode: str) -> bool:
    return name.endswith(".py") and mode.startswith(PLAIN)


def _files(renames: Renames) -> dict[str, str]:
    """The files of the modules that have moved."""
    return {file_of(old): file_of(new) for old, new in renames.modules.items()}


def _modules(names: list[str], table: dict[str, str]) -> set[str]:
    """The modules that a render has beside its tests, by their names of today."""
    return {
        Home().module(table.get(name, name))
        for name in names
        if name.endswith(".py") and not name.startswith("tests/")
    }


def _move_render(
    render: Path,
    renames: Renames,
    modules: set[str],
    home: Home,
    copy: Copy,
    dots: Dots,
    untouched: set[str],
    kept: set[str],
) -> None:
    """Bring a render to the files and the names of today, and into the package of the project.

    modules: all that either render has, by their names of today.
    dots: the files in which the project names its modules from where they are.
    untouched: the files of the project that are the same in the old render.
    kept: the files that are not rewritten.
    """
    table, names = _files(renames), files_in(render)
    inside = Renames({module: f"{home.package}.{module}" for module in modules})
    folder = render.with_name(f"{render.name}-moved")
    for name in names:
        here, target = render / name, table.get(name, name)
        is_module = Home().module(target) in modules
        if is_module or f"{home.folder}{target}" in copy.entries:
            target = f"{home.folder}{target}"
        if name.endswith(".py") and name not in kept:
            before, after = Home().module(name), Home().module(table.get(name, name))
            code = here.read_bytes()
            if renames and home.folder + name not in untouched:
                code = rewritten(code, renames, before, after, frozenset()).code
            if home.package:
                last = home.module(target)
                code = rewritten(code, inside, after, last, relative=target in dots).code
            here.write_bytes(code)
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        here.rename(folder / target)
    shutil.rmtree(render)
    folder.rename(render)


def finish(followed: Relocated, outcome: Outcome, new: Path) -> None:
    """Let the team's own code find what has left a file, and note in the outcome what has moved."""
    complete(followed)
    note_moves(followed, outcome, new)


def complete(followed: Relocated) -> None:
    """Import what has left a file, and what the team's own code in it uses all the same."""
    left: dict[str, dict[str, Name]] = {}  # by the file that had it
    for (module, name), target in followed.renames.names.items():
        path = file_of(followed.renames.modules.get(module, module))
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


def note_moves(followed: Relocated, outcome: Outcome, new: Path) -> None:
    """Note in the outcome what has moved, and where else it is named."""
    outcome.moved = {
        name: target
        for name, target in followed.moved.items()
        if (followed.copy.folder / target).exists()
    }
    outcome.unparsed, outcome.mentions = followed.unparsed, list(followed.unsure)
    if not outcome.moved:
        return
    copy, package = followed.copy, f"{followed.home.package}.".lstrip(".")
    modules = {a: b for a, b in followed.renames.modules.items() if a.startswith(package)}
    others = other_projects(copy)
    for name in names_in(copy):
        path, ours = copy.folder / name, new / name
        if path.is_symlink():
            target = os.path.relpath(path.parent / path.readlink(), copy.folder)
            if target in followed.moved:
                outcome.mentions.append(f"{name} links to {target}, now {followed.moved[target]}")
        elif path.is_file() and not name.startswith(others):
            known = ours.read_bytes() if ours.is_file() else b""
            outcome.mentions += [
                f"{name}:{line} names {module}, now {modules[module]}"
                for line, module in mentions(
                    name, path.read_bytes(), known, modules, followed.defined
                )
            ]
