"""A copy of a project, in a repository of its own: what is merged there touches nothing else.

It sees the project as it was committed last, and nothing around it; no setting of the user has a
say in it.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from scaffold.git.index import LITERAL, Entry, staged
from scaffold.git.repository import Place
from scaffold.git.run import ALONE, NOBODY, ask
from scaffold.template.answers import FILE
from scaffold.terminal import is_watched, waiting

MANY = 5000  # files; a slow disk takes seconds for them


@dataclass(frozen=True)
class Copy:
    """The repository of a copy."""

    folder: Path
    head: str  # the commit of the project as it is
    variables: dict[str, str]  # of the environment of its git
    project: dict[str, Entry]  # of the files in that commit
    entries: dict[str, Entry]  # of the files in the copy: the same, unless they were moved there
    line_ends: dict[str, str]  # of each file in the copy: lf, crlf, mixed, ...

    def ask(self, *words: str, text: str | None = None, **more: str) -> str:
        """What git answers in the copy."""
        return ask(self.folder, *words, text=text, **self.variables, **more)


def copy_of(place: Place, room: Path, keep: bool) -> Copy:
    """The copy of a project, in a folder of the room.

    keep: what is made in it goes into the object store of the project, to be used there.
    """
    folder, home = room / "copy", room / "home"
    home.mkdir()
    # not by its option: git knows that only since 2.29, and before that no other kind
    variables = {"GIT_DEFAULT_HASH": "sha256" if len(place.head) == 64 else "sha1"}
    variables |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    variables |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    variables |= {"GIT_CONFIG_GLOBAL": os.devnull, **ALONE}
    ask(room, "init", "--quiet", "--template=", str(folder), **variables)
    # what two sides say of line ends stands one below the other, and the template's rules last
    (folder / ".git/info").mkdir(exist_ok=True)
    (folder / ".git/info/attributes").write_text(".gitattributes merge=union\n")
    if keep:
        variables["GIT_OBJECT_DIRECTORY"] = str(place.objects)
    else:
        (folder / ".git/objects/info").mkdir(exist_ok=True)
        (folder / ".git/objects/info/alternates").write_bytes(os.fsencode(f"{place.objects}\n"))
    tree = f"{place.head}:{place.prefix}"
    if place.prefix and not ask(place.top, "ls-tree", "-d", place.head, place.prefix.rstrip("/")):
        # git keeps nothing of the folder yet
        tree = ask(folder, "mktree", **variables).strip()
    head = ask(folder, "commit-tree", tree, text="project\n", **NOBODY, **variables).strip()
    if is_watched():
        count = ask(folder, "ls-tree", "-r", "-z", "--name-only", head, **variables).count("\0")
        if count > MANY:
            waiting(f"git copies {count} files, to merge beside them")
    ask(folder, "checkout", "--quiet", "--detach", head, **variables)
    listed = ask(folder, "ls-files", "--stage", "--eol", "-z", **variables)
    entries: dict[str, Entry] = {}
    line_ends = {}
    for entry in filter(None, listed.split("\0")):
        facts, ends, name = entry.split("\t", 2)
        mode, blob, stage = facts.split()
        entries[name] = mode, blob, stage
        line_ends[name] = ends.split()[0].removeprefix("i/")
    return Copy(folder, head, variables, entries, entries, line_ends)


def contents(copy: Copy, names: list[str]) -> dict[str, bytes]:
    """What files of the copy hold, as git stores it."""
    if not names:
        return {}
    asked = "".join(f"{copy.entries[name][1]}\n" for name in names)
    told = copy.ask("cat-file", "--batch", text=asked).encode("utf-8", "surrogateescape")
    found, at = {}, 0
    for name in names:
        begin = told.index(b"\n", at) + 1  # behind "HASH blob SIZE"
        at = begin + int(told[at:begin].split()[2])
        found[name] = told[begin:at]
        at += 1
    return found


def stored(copy: Copy, codes: list[bytes]) -> list[str]:
    """The names that git gives to these contents, which it has from now on."""
    with tempfile.TemporaryDirectory(dir=copy.folder.parent) as folder:
        paths = [Path(folder, str(number)) for number in range(len(codes))]
        for path, code in zip(paths, codes, strict=True):
            path.write_bytes(code)
        listed = "".join(f"{path}\n" for path in paths)
        return copy.ask("hash-object", "-w", "--no-filters", "--stdin-paths", text=listed).split()


def rearranged(copy: Copy, names: dict[str, str], codes: dict[str, bytes]) -> Copy:
    """The copy with files under other names ({name: new name}) and with other contents.

    codes: by the names that the files have now. The project's own commit stays what it was.
    """
    blobs = dict(zip(codes, stored(copy, list(codes.values())), strict=True))
    entries = {
        names.get(name, name): (mode, blobs.get(name, blob), stage)
        for name, (mode, blob, stage) in copy.entries.items()
    }
    ends = {names.get(name, name): kind for name, kind in copy.line_ends.items()}
    tree = tree_of(copy, entries, "moved")
    words = ("commit-tree", tree, "-p", copy.head)
    commit = copy.ask(*words, text="moved\n", **NOBODY).strip()
    copy.ask("checkout", "--quiet", "--detach", commit)
    return replace(copy, entries=entries, line_ends=ends)


def beside(copy: Copy, index: str) -> dict[str, str]:
    """The variables by which git uses an index of this name beside the copy, and not the copy's."""
    return {"GIT_INDEX_FILE": str(copy.folder.with_name(f"index-{index}"))}


def tree_of(copy: Copy, entries: dict[str, Entry], index: str) -> str:
    """The tree of some entries; index: the name of a file beside the copy that nobody else uses."""
    lines = "".join(f"{mode} {blob}\t{name}\0" for name, (mode, blob, _) in entries.items())
    variables = beside(copy, index)
    copy.ask("update-index", "-z", "--index-info", text=lines, **variables)
    return copy.ask("write-tree", **variables).strip()


def entry_in(copy: Copy, index: str, name: str) -> Entry | None:
    """What the tree of tree_of() has of a file, by the name of its index; None where nothing."""
    variables = beside(copy, index) | LITERAL
    return next(
        iter(staged(copy.ask("ls-files", "--stage", "-z", "--", name, **variables)).get(name, [])),
        None,
    )


def names_in(copy: Copy, index: str | None = None) -> list[str]:
    """The files in the copy, or those in the tree of tree_of(), by the name of its index."""
    variables = beside(copy, index) if index else {}
    return list(filter(None, copy.ask("ls-files", "-z", **variables).split("\0")))


def other_projects(copy: Copy) -> tuple[str, ...]:
    """The folders of projects of their own within a project: what lies there is not its code."""
    return tuple(name.removesuffix(FILE) for name in copy.entries if name.endswith(f"/{FILE}"))
