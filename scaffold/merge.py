"""Brings what changed between two renders of the template into a project: one merge by git.

What the template made once is the base, what it makes now is one side, and the project is the
other. So the edits of a team stay; where both changed the same lines git leaves its usual conflict,
for which every editor and `git mergetool` have a view.
"""

import os
import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from scaffold.answers import FILE
from scaffold.errors import PRECONDITION, ScaffoldError
from scaffold.git import AGAIN, NOBODY, QUIET, ask, failed, git
from scaffold.names import printable
from scaffold.place import Place, line_ends
from scaffold.project import files

# a user's own settings have no say in what a merge finds
RENAMES = ("merge.renames=true", "merge.directoryRenames=true", "merge.renameLimit=10000")
MARKER = re.compile(rb"^<{7} ", re.MULTILINE)
ZDIFF3 = (2, 35)  # the git that can leave out what both sides have in common


@dataclass
class Outcome:
    """What a merge did; the names are those of files, as seen from the project."""

    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # edited here, and the template has it no more
    left_out: list[str] = field(default_factory=list)  # removed here, and the template changed it
    conflicts: dict[str, str] = field(default_factory=dict)  # {name: what happened}

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the project is other than before."""
        return not (self.changed or self.added or self.removed or self.conflicts)


@dataclass(frozen=True)
class Renders:
    """What the template made once, and what it makes now: two commits that no branch has."""

    old: str
    new: str
    same: bool


def write_renders(place: Place, old: Path, new: Path, message: str) -> Renders:
    """Put two renders into the repository, each as the files of a commit, the new after the old.

    A file whose lines end with CRLF in the project gets them in both renders, too.
    """
    room = old.parent
    ends = line_ends(place)
    trees = []
    for folder in (old, new):
        names = files(folder)
        for name in names:
            if ends.get(name) == "crlf":
                path = folder / name
                path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        trees.append(_tree(place, folder, names, room / f"index-{folder.name}"))
    base = ask(place.top, "commit-tree", trees[0], text="base\n", **NOBODY).strip()
    words = ("commit-tree", trees[1], "-p", base)
    theirs = ask(place.top, *words, text=f"{message}\n", **NOBODY).strip()
    return Renders(base, theirs, trees[0] == trees[1])


def _tree(place: Place, folder: Path, names: list[str], index: Path) -> str:
    """The tree of a folder's files below the place of the project, byte for byte.

    Whatever line ends, filters and ignored names the repository and its user have set.
    """
    paths = "".join(f"{folder / name}\n" for name in names)
    written = ask(place.top, "hash-object", "-w", "--no-filters", "--stdin-paths", text=paths)
    entries = "".join(
        f"{'100755' if (folder / name).stat().st_mode & 0o100 else '100644'} {blob}\t"
        f"{place.prefix}{name}\0"
        for name, blob in zip(names, written.split(), strict=True)
    )
    variables = {"GIT_INDEX_FILE": str(index)}
    ask(place.top, "update-index", "-z", "--index-info", text=entries, **variables)
    return ask(place.top, "write-tree", **variables).strip()


def check_untracked(place: Place, kept: Container[str], old: Path, new: Path) -> None:
    """Raise ScaffoldError where a file that git does not keep would be overwritten."""
    there = [
        name
        for name in files(new)
        if name not in kept
        and os.path.lexists(place.root / name)
        and not ((old / name).exists() and (old / name).read_bytes() == (new / name).read_bytes())
    ]
    if there:
        shown = ", ".join(map(printable, there[:3]))
        remedy = "rename it, or git add -f it and commit; then run it again"
        fact = f"git does not keep `{shown}`, which would be overwritten"
        raise ScaffoldError(fact, remedy, PRECONDITION)


def merge(place: Place, renders: Renders, answers: bytes) -> Outcome:
    """Merge the difference of two renders into the project; it is staged and not committed.

    answers: the new answers file, which is taken as it is. Raises ScaffoldError where git cannot
    begin.
    """
    if renders.same:
        return Outcome()
    style = "zdiff3" if _version(place) >= ZDIFF3 else "diff3"
    options = [part for name in (*RENAMES, f"merge.conflictStyle={style}") for part in ("-c", name)]
    done = git(place.top, *QUIET, *options, "cherry-pick", "--no-commit", renders.new, **NOBODY)
    if done.returncode not in (0, 1) or "would be overwritten" in done.stderr:
        raise failed(place.top, done.stderr, AGAIN)
    return _settle(place, answers)


def _version(place: Place) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", ask(place.top, "version"))
    assert found, "git tells its version"
    return tuple(map(int, found[0].split(".")))


def _settle(place: Place, answers: bytes) -> Outcome:
    """Decide what needs no person, and tell what does."""
    outcome, stages = Outcome(), _unmerged(place)
    two_names = {1} in stages.values()  # renamed here, and otherwise in the template
    for path, found in stages.items():
        name = place.name(path)
        if name == FILE:
            continue
        if found == {1, 2} or (found == {2} and not two_names):
            outcome.kept.append(name)
            ask(place.top, "add", "--force", "--", f":(literal){path}")
        elif found == {1, 3} or (found == {3} and not two_names):
            outcome.left_out.append(name)
            ask(place.top, "rm", "--quiet", "--force", "--", f":(literal){path}")
        else:
            outcome.conflicts[name] = _words(place.top / path, found)
    (place.root / FILE).write_bytes(answers)
    ask(place.root, "add", "--force", "--", FILE)
    flags = ("--cached", "--name-status", "--no-renames", "-z")
    listed = ask(place.top, "diff", *flags, place.head).split("\0")
    lists = {"M": outcome.changed, "T": outcome.changed, "A": outcome.added, "D": outcome.removed}
    for status, path_ in zip(listed[::2], listed[1::2], strict=False):
        if status in lists:  # U: a conflict
            lists[status].append(place.name(path_))
    return outcome


def _unmerged(place: Place) -> dict[str, set[int]]:
    """What git could not merge: {path: stages}, 1 the old render, 2 the project, 3 the new one."""
    found: dict[str, set[int]] = {}
    for entry in filter(None, ask(place.top, "ls-files", "--unmerged", "-z").split("\0")):
        facts, _, path = entry.partition("\t")
        found.setdefault(path, set()).add(int(facts.split()[2]))
    return found


def _words(path: Path, stages: set[int]) -> str:
    """What happened to a file, in the words of neither side."""
    markers = len(MARKER.findall(path.read_bytes())) if path.is_file() else 0
    where = f"in {markers} place{'s' if markers != 1 else ''}" if markers else "as a whole"
    if stages == {1, 2, 3}:
        return f"changed here and in the template, {where}"
    if stages == {2, 3}:
        return f"added here and by the template, different {where}"
    return "renamed here and in the template, to different names"
