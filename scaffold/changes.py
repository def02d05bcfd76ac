"""The files that a merge has changed, as git's index had and has them."""

from dataclasses import dataclass

from scaffold.copy import Copy

Entry = tuple[str, str, str]  # mode, blob and stage, which is 0 unless there is a conflict


@dataclass(frozen=True)
class Change:
    """A file before and after; no entry where there is none, several where there is a conflict."""

    name: str  # in the project
    before: list[Entry]
    after: list[Entry]

    @property
    def is_whole(self) -> bool:
        """Whether the file is there, and without a conflict."""
        return [stage for _, _, stage in self.after] == ["0"]


def changes(copy: Copy) -> list[Change]:
    """What was changed in the copy since its commit, sorted by name."""
    before: dict[str, list[Entry]] = {}
    for entry in filter(None, copy.ask("ls-tree", "-r", "-z", copy.head).split("\0")):
        facts, _, name = entry.partition("\t")
        mode, _, blob = facts.split()
        before[name] = [(mode, blob, "0")]
    after: dict[str, list[Entry]] = {}
    for entry in filter(None, copy.ask("ls-files", "--stage", "-z").split("\0")):
        facts, _, name = entry.partition("\t")
        mode, blob, stage = facts.split()
        after.setdefault(name, []).append((mode, blob, stage))
    return [
        Change(name, before.get(name, []), after.get(name, []))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
