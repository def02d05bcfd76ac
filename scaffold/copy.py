"""A copy of a project, in a repository of its own: what is merged there touches nothing else.

It sees the project as it was committed last, and nothing around it; no setting of the user has a
say in it.
"""

from dataclasses import dataclass
from pathlib import Path

from scaffold.git import NOBODY, ask
from scaffold.place import Place


@dataclass(frozen=True)
class Copy:
    """The repository of a copy."""

    folder: Path
    head: str  # the commit of the project as it is
    variables: dict[str, str]  # of the environment of its git

    def ask(self, *words: str, text: str | None = None, **more: str) -> str:
        """What git answers in the copy."""
        return ask(self.folder, *words, text=text, **self.variables, **more)


def copy_of(place: Place, room: Path, keep: bool) -> Copy:
    """The copy of a project, in a folder of the room.

    keep: what is made in it goes into the object store of the project, to be used there.
    """
    folder, home = room / "copy", room / "home"
    home.mkdir()
    wanted = ("--show-object-format", "--path-format=absolute", "--git-path", "objects")
    kind, objects = ask(place.top, "rev-parse", *wanted).split("\n")[:2]
    variables = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    variables |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
    ask(room, "init", "--quiet", "--template=", f"--object-format={kind}", str(folder), **variables)
    if keep:
        variables["GIT_OBJECT_DIRECTORY"] = objects
    else:
        (folder / ".git/objects/info").mkdir(exist_ok=True)
        (folder / ".git/objects/info/alternates").write_text(f"{objects}\n")
    tree = f"{place.head}:{place.prefix}"
    head = ask(folder, "commit-tree", tree, text="project\n", **NOBODY, **variables).strip()
    ask(folder, "checkout", "--quiet", "--detach", head, **variables)
    return Copy(folder, head, variables)
