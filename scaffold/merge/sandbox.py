"""A copy of a project, in a repository of its own: what is merged there touches nothing else.

It sees the project as it was committed last, and nothing around it; no setting of the user has a
say in it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from scaffold.git.index import Entry
from scaffold.git.repository import Place
from scaffold.git.run import NOBODY, ask


@dataclass(frozen=True)
class Copy:
    """The repository of a copy."""

    folder: Path
    head: str  # the commit of the project as it is
    variables: dict[str, str]  # of the environment of its git
    entries: dict[str, Entry]  # of the files in that commit
    line_ends: dict[str, str]  # of each of them: lf, crlf, mixed, ...

    def ask(self, *words: str, text: str | None = None, **more: str) -> str:
        """What git answers in the copy."""
        return ask(self.folder, *words, text=text, **self.variables, **more)


def copy_of(place: Place, room: Path, keep: bool) -> Copy:
    """The copy of a project, in a folder of the room.

    keep: what is made in it goes into the object store of the project, to be used there.
    """
    folder, home = room / "copy", room / "home"
    home.mkdir()
    kind = "sha256" if len(place.head) == 64 else "sha1"
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    variables |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    variables["GIT_CONFIG_GLOBAL"] = os.devnull
    ask(room, "init", "--quiet", "--template=", f"--object-format={kind}", str(folder), **variables)
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
    ask(folder, "checkout", "--quiet", "--detach", head, **variables)
    listed = ask(folder, "ls-files", "--stage", "--eol", "-z", **variables)
    entries: dict[str, Entry] = {}
    line_ends = {}
    for entry in filter(None, listed.split("\0")):
        facts, ends, name = entry.split("\t", 2)
        mode, blob, stage = facts.split()
        entries[name] = mode, blob, stage
        line_ends[name] = ends.split()[0].removeprefix("i/")
    return Copy(folder, head, variables, entries, line_ends)
