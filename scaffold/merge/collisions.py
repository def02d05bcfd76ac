"""Refuses what git would merge under a name that it makes up: a file here and a folder there."""

from pathlib import Path

from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.files import files_in
from scaffold.merge.sandbox import Copy
from scaffold.names import some

PLAIN = "100"  # how the mode of a plain file begins


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
    for name in sorted(before | after):
        if name in before & after and (old / name).read_bytes() == (new / name).read_bytes():
            continue
        barred = [str(parent) for parent in Path(name).parents if str(parent) in stay]
        odd = barred or ([name] if here.get(name, PLAIN) != PLAIN or name in folders else [])
        if odd and (name in after or name in here):
            fact = f"{some(odd)} is no {'folder' if barred else 'plain file'}, as the project needs"
            remedy = "rename it, commit, and run it again; nothing was changed"
            raise ScaffoldError(fact, remedy, PRECONDITION)
