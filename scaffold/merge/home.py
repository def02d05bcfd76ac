"""Where the modules of a project lie, and how its code calls them."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

import libcst as cst

from scaffold.merge.codemod.nodes import imported_modules
from scaffold.merge.codemod.rewrite import UNREADABLE


@dataclass(frozen=True)
class Home:
    """The folder of the modules, and the package that it is."""

    folder: str = ""  # such as "src/digits/"; empty where they lie in the project's root
    package: str = ""  # such as "digits"; empty where they import each other by their bare names

    def module(self, name: str) -> str:
        """The dotted name of a file, as the project's code imports it."""
        path = name.removesuffix(".py").split("/")
        if self.folder and name.startswith(self.folder):
            path = [*filter(None, self.package.split(".")), *path[self.folder.count("/") :]]
        return ".".join(path)

    def beside(self, name: str, sources: Iterable[str]) -> frozenset[str]:
        """The modules beside a file that lies elsewhere in the project: bare names mean them."""
        folder = f"{name.rpartition('/')[0]}/".lstrip("/")
        if folder == self.folder:
            return frozenset()
        below = (other.removeprefix(folder) for other in sources if other.startswith(folder))
        return frozenset(other.partition("/")[0].removesuffix(".py") for other in below)


def file_of(module: str) -> str:
    """The file of a module by its dotted name: the way back from Home().module."""
    return f"{module.replace('.', '/')}.py"


def find_home(sources: dict[str, bytes], ours: set[str]) -> Home:
    """The home of a project. sources: its Python files; ours: the modules that the template made.

    Of several folders with modules of ours it is one that has at least half as many as any; the
    others may be copies that a team keeps. What other code imports or has the path of is none, nor
    what lies in `src/` or nearest to the root.
    """
    folders = Counter(str(path.parent) for path in map(PurePosixPath, sources) if path.stem in ours)
    many = [name for name, count in folders.items() if 2 * count >= max(folders.values())]
    if not many or "." in many:
        return Home()

    def order(name: str) -> tuple[bool, bool, int, str]:
        is_named = len(many) > 1 and _is_named(name, sources, ours)
        return not is_named, not name.startswith("src/"), name.count("/"), name

    best = min(many, key=order)
    parts = best.split("/")
    word = parts[-1].encode()  # who is outside and does not say it, does not name the package
    looked = {
        name: imported(code)
        for name, code in sources.items()
        if name.startswith(f"{best}/") or word in code
    }
    called = {name for found in looked.values() for name, dots in found if not dots}
    if package := _called(best, called, ours):
        return Home(f"{best}/", package)
    if not any(dots for name in looked if name.startswith(best) for _, dots in looked[name]):
        return Home(f"{best}/")
    first = len(parts) - 1
    while first and f"{'/'.join(parts[:first])}/__init__.py" in sources:
        first -= 1
    return Home(f"{best}/", ".".join(parts[first:]))


def _called(folder: str, called: set[str], ours: set[str]) -> str:
    """The package that a folder is by what is imported: its whole path or the end of it."""
    parts = folder.split("/")
    packages = (".".join(parts[first:]) for first in range(len(parts)))
    names = {
        package: {package, *(f"{package}.{module}" for module in ours)} for package in packages
    }
    return next((package for package, those in names.items() if called & those), "")


def _is_named(folder: str, sources: dict[str, bytes], ours: set[str]) -> bool:
    """Whether code that lies elsewhere imports modules of ours from a folder, or has its path."""
    word = folder.rpartition("/")[2].encode()
    elsewhere = [
        n for n, code in sources.items() if word in code and not n.startswith(f"{folder}/")
    ]
    # as tests have it that start train.py
    path = re.compile(rb"[\"']%s[/\"']" % re.escape(folder.encode()))
    if any(path.search(sources[name]) for name in elsewhere):
        return True
    found = (each for name in elsewhere for each in imported(sources[name]))
    return bool(_called(folder, {name for name, dots in found if not dots}, ours))


@dataclass(frozen=True)
class Dots:
    """In which files a project names its modules from where they are."""

    files: frozenset[str]
    others: frozenset[str]

    def __contains__(self, name: object) -> bool:
        """What the project does not have is written as most of its files are."""
        return name in self.files or (
            name not in self.others and len(self.files) > len(self.others)
        )


def find_dots(sources: dict[str, bytes], home: Home, moved: dict[str, str]) -> Dots:
    """The files of a package that do so, by their names of today."""
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for name, code in sources.items() if home.package else ():
        found = imported(code) if name.startswith(home.folder) else []
        first = home.package.partition(".")[0]
        if any(dots or called.partition(".")[0] == first for called, dots in found):
            kinds[any(dots for _, dots in found)].add(moved.get(name, name))
    return Dots(frozenset(kinds[True]), frozenset(kinds[False]))


@lru_cache(1024)  # home and dots ask the same files
def imported(code: bytes) -> list[tuple[str, int]]:
    """(module, dots before it) of all imports; none where the code does not parse."""
    try:
        return imported_modules(cst.parse_module(code))
    except UNREADABLE:
        return []
