"""The files that a merge has changed, as git's index had and has them."""

from dataclasses import dataclass

from scaffold.git.index import Entry, is_whole, staged
from scaffold.merge.sandbox import Copy


@dataclass(frozen=True)
class Change:
    """A file before and after; no entry where there is none, several where there is a conflict."""

    name: str  # in the project
    before: list[Entry]
    after: list[Entry]
    text: Entry | None  # what lies on the disk then: where there is a conflict, with its marks

    @property
    def is_whole(self) -> bool:
        """Whether the file is there, and without a conflict."""
        return is_whole(self.after)


def changes(copy: Copy) -> list[Change]:
    """What was changed in the copy since its commit, sorted by name."""
    before = {name: [entry] for name, entry in copy.project.items()}
    after = staged(copy.ask("ls-files", "--stage", "-z"))
    texts = {name: entries[0] for name, entries in after.items() if is_whole(entries)}
    marked = [name for name in after.keys() - texts.keys() if (copy.folder / name).is_file()]
    if marked:
        blobs = copy.ask("hash-object", "-w", "--", *marked).split()
        for name, blob in zip(marked, blobs, strict=True):
            can_run = (copy.folder / name).stat().st_mode & 0o100
            texts[name] = ("100755" if can_run else "100644", blob, "0")
    return [
        Change(name, before.get(name, []), after.get(name, []), texts.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
