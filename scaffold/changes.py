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
        return is_whole(self.after)


def is_whole(entries: list[Entry]) -> bool:
    """Whether these are the entries of a file that is there, and without a conflict."""
    return [stage for _, _, stage in entries] == ["0"]


def staged(told: str) -> dict[str, list[Entry]]:
    """The entries of each path that `ls-files --stage -z` has told."""
    found: dict[str, list[Entry]] = {}
    for entry in filter(None, told.split("\0")):
        facts, _, path = entry.partition("\t")
        mode, blob, stage = facts.split()
        found.setdefault(path, []).append((mode, blob, stage))
    return found


def changes(copy: Copy) -> list[Change]:
    """What was changed in the copy since its commit, sorted by name."""
    before: dict[str, list[Entry]] = {}
    for entry in filter(None, copy.ask("ls-tree", "-r", "-z", copy.head).split("\0")):
        facts, _, name = entry.partition("\t")
        mode, _, blob = facts.split()
        before[name] = [(mode, blob, "0")]
    after = staged(copy.ask("ls-files", "--stage", "-z"))
    return [
        Change(name, before.get(name, []), after.get(name, []))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
