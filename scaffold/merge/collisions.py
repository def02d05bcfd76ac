"""Refuses two things under one name: a file here and a folder there, or two modules."""

from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import alike, files_in
from scaffold.merge.sandbox import Copy
from scaffold.names import some

PLAIN = "100"  # how the mode of a plain file begins
MODULES = (".py", ".pyi", ".so", ".pyd")


def check_kinds(copy: Copy, old: Path, new: Path) -> None:
    """Raise ScaffoldError where the project has a link, a folder or a submodule in a file's place.

    old and new: the renders between which the project moves; what is the same in both may be
    anything, and what the old one has as a file may be a folder in the new one.
    """
    here = {name: mode[:3] for name, (mode, *_) in copy.entries.items()}
    before, after = set(files_in(old)), set(files_in(new))
    removed = {name for name in before - after if here.get(name) == PLAIN}
    stay = here.keys() - removed
    folders = {str(parent) for name in stay for parent in Path(name).parents}
    for name in sorted((before | after) - alike(old, new)):
        barred = [str(parent) for parent in Path(name).parents if str(parent) in stay]
        odd = barred or ([name] if here.get(name, PLAIN) != PLAIN or name in folders else [])
        if odd and (name in after or name in here):
            fact = f"{some(odd)} is no {'folder' if barred else 'plain file'}, as the project needs"
            remedy = "rename it, commit, and run it again; nothing was changed"
            raise ScaffoldError(fact, remedy, PRECONDITION)


def check_hidden(root: Path, old: Path, new: Path) -> None:
    """Raise ScaffoldError where code of the project and a module that is new would hide each other.

    Of a module and a package of one name in one folder Python takes the package, without a word.
    root: the project on the disk, with what git does not keep; old and new: the renders.
    """
    added = set(files_in(new)) - set(files_in(old))
    remedy = "rename it, commit, and run it again; nothing was changed"
    for name in sorted(added):
        path = root / name
        if path.name == "__init__.py":
            modules = sorted(path.parent.parent.glob(f"{path.parent.name}.*"))
            hidden = [str(m.relative_to(root)) for m in modules if m.suffix in MODULES]
            if hidden:
                fact = f"{some(hidden)} would be hidden by the project's `{path.parent.name}/`"
                raise ScaffoldError(fact, remedy, PRECONDITION)
            if any(path.parent.rglob("*.py")):
                fact = f"`{path.parent.relative_to(root)}/` has code, and the project needs it"
                raise ScaffoldError(fact, remedy, PRECONDITION)
        elif path.suffix == ".py" and (path.with_suffix("") / "__init__.py").exists():
            fact = f"{some([str(path.with_suffix('').relative_to(root))])} would hide `{name}`"
            raise ScaffoldError(fact, remedy, PRECONDITION)
