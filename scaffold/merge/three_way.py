"""Brings what changed between two renders of the template into a project: one merge by git.

What the template made once is the base, what it makes now is one side, and the project is the
other. So the edits of a team stay; where both changed the same lines git leaves its usual conflict,
for which every editor and `git mergetool` have a view. All this happens in a copy (sandbox.py).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from scaffold.files import files_in
from scaffold.git.index import LITERAL, Entry, staged
from scaffold.git.run import AGAIN, NOBODY, QUIET, failed, git
from scaffold.merge.changes import Change, changes
from scaffold.merge.collisions import check_kinds
from scaffold.merge.form import merged_in_form
from scaffold.merge.imports import lost_imports, lost_members
from scaffold.merge.lists import settle
from scaffold.merge.sandbox import Copy, contents, entry_in, names_in, stored, tree_of
from scaffold.merge.soundness import LOOKED_AT, damage, lost_names
from scaffold.template.answers import FILE

RENAMES = ("merge.renames=true", "merge.directoryRenames=true", "merge.renameLimit=10000")
COMMENT = re.compile(rb"(?:^|(?<=\s))#[^\r\n]*", re.MULTILINE)  # of an answers file: of words
MARKER = re.compile(rb"^<{7,} ", re.MULTILINE)
ZDIFF3 = (2, 35)  # the git that can leave out what both sides have in common


@dataclass
class Outcome:
    """What a merge did; the names are those of files of the project."""

    changed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # edited here, and the template has it no more
    left_out: list[str] = field(default_factory=list)  # removed here, and the template changed it
    skipped: list[str] = field(default_factory=list)  # there already, and it was to stay
    conflicts: dict[str, str] = field(default_factory=dict)  # {name: what happened}
    moved: dict[str, str] = field(default_factory=dict)  # {name: where a release has put it}
    mentions: list[str] = field(default_factory=list)  # where else that names what has moved
    unparsed: list[str] = field(default_factory=list)  # Python that may, and could not be read
    undefined: list[str] = field(default_factory=list)  # where names or modules are no more
    reformed: list[str] = field(default_factory=list)  # in part as the template formats them
    notes: list[str] = field(default_factory=list)  # of how it was merged

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the project is other than before."""
        return not (self.changed or self.added or self.removed or self.moved or self.conflicts)


def merge(copy: Copy, old: Path, new: Path, message: str) -> Outcome:
    """Merge the difference of two renders into the copy of a project: what it left undecided.

    The answers file is the new one, whatever stood there. Raises ScaffoldError where git fails.
    """
    check_kinds(copy, old, new)
    answers = _answers(copy, old, new)
    trees = write_trees(copy, old, new)
    if trees[0] == trees[1]:
        return Outcome()
    base = copy.ask("commit-tree", trees[0], text="base\n", **NOBODY).strip()
    words = ("commit-tree", trees[1], "-p", base)
    theirs = copy.ask(*words, text=f"{message}\n", **NOBODY).strip()
    style = "zdiff3" if _version(copy) >= ZDIFF3 else "diff3"
    options = [part for name in (*RENAMES, f"merge.conflictStyle={style}") for part in ("-c", name)]
    pick = (*QUIET, *options, "cherry-pick", "--no-commit", theirs)
    done = git(copy.folder, *pick, **NOBODY, **copy.variables)
    if done.returncode not in (0, 1):
        raise failed(copy.folder, done.stderr, AGAIN)
    return _settle(copy, answers, done.returncode == 1)


def tell(copy: Copy, outcome: Outcome) -> list[Change]:
    """The files that are other than in the project, which the outcome tells from now on.

    What does not parse any more is left to a person, as a conflict is.
    """
    found = changes(copy)
    merged = [change.name for change in found if change.is_whole and change.name in copy.entries]
    damaged, names = {}, frozenset(names_in(copy))
    for name, before in contents(
        copy, [name for name in merged if name.endswith(LOOKED_AT)]
    ).items():
        after = (copy.folder / name).read_bytes()
        if reason := damage(name, before, after):
            damaged[name] = reason
        outcome.undefined += lost_names(name, before, after)
        outcome.undefined += lost_members(copy, names, name, before, after)
    outcome.undefined += lost_imports(copy, names, outcome.moved)
    outcome.undefined = list(dict.fromkeys(outcome.undefined))  # by both, where a package lacks it
    if damaged:
        outcome.conflicts |= damaged
        _leave(copy, list(damaged))
        found = changes(copy)
    moved = {*outcome.moved, *outcome.moved.values()}
    for change in found:
        if change.name in moved:
            continue
        if not change.after:
            outcome.removed.append(change.name)
        elif change.is_whole:
            (outcome.changed if change.before else outcome.added).append(change.name)
    return found


def _leave(copy: Copy, names: list[str]) -> None:
    """Let the index have both sides of files that git has merged: they are not settled."""
    listed = staged(copy.ask("ls-files", "--stage", "-z", "--", *names, **LITERAL))
    lines = [f"0 {'0' * len(copy.head)}\t{name}\0" for name in names]
    for name in names:
        sides = [copy.entries[name], entry_in(copy, "new", name) or listed[name][0]]
        if base := entry_in(copy, "old", name):
            sides = [base, *sides]
        for stage, (mode, blob, _) in enumerate(sides, 4 - len(sides)):
            lines.append(f"{mode} {blob} {stage}\t{name}\0")
    copy.ask("update-index", "-z", "--index-info", text="".join(lines))


def _answers(copy: Copy, old: Path, new: Path) -> bytes:
    """The new answers file, with the comments that somebody has added to theirs, and its `---`."""
    written = (new / FILE).read_bytes()
    there, known = (folder / FILE for folder in (copy.folder, old))
    if not there.exists() or not known.exists():
        return written
    text, known_comments = there.read_bytes(), COMMENT.findall(known.read_bytes())
    added = [line for line in COMMENT.findall(text) if line not in known_comments]
    start = b"---\n" if text.startswith(b"---") else b""
    answers = start + written + b"".join(line + b"\n" for line in added)
    return answers.replace(b"\n", b"\r\n") if copy.line_ends[FILE] == "crlf" else answers


def write_trees(copy: Copy, old: Path, new: Path) -> list[str]:
    """The trees of two renders, byte for byte, whatever line ends and filters the project has set.

    A file whose lines end with CRLF in the project gets them here, too.
    """
    paths = [(folder / name, name) for folder in (old, new) for name in files_in(folder)]
    for path, name in paths:
        if copy.line_ends.get(name) == "crlf":
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    blobs = stored(copy, [path.read_bytes() for path, _ in paths])
    entries: dict[Path, dict[str, Entry]] = {old: {}, new: {}}
    for (path, name), blob in zip(paths, blobs, strict=True):
        mode = "100755" if path.stat().st_mode & 0o100 else "100644"
        entries[old if path.is_relative_to(old) else new][name] = mode, blob, "0"
    return [tree_of(copy, found, folder.name) for folder, found in entries.items()]


def _version(copy: Copy) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", copy.ask("version"))
    assert found, "git tells its version"
    return tuple(map(int, found[0].split(".")))


def _settle(copy: Copy, answers: bytes, has_conflicts: bool) -> Outcome:
    """Decide what needs no person, and tell what does."""
    outcome, stages = Outcome(), _unmerged(copy) if has_conflicts else {}
    two_names = {1} in stages.values()  # renamed here, and otherwise in the template
    for name, found in stages.items():
        if name == FILE:
            continue
        if found == {1, 2} or (found == {2} and not two_names):
            outcome.kept.append(name)
            copy.ask("add", "--force", "--", f":(literal){name}")
        elif found == {1, 3} or (found == {3} and not two_names):
            outcome.left_out.append(name)
            copy.ask("rm", "--quiet", "--force", "--", f":(literal){name}")
        elif found == {1, 2, 3} and (code := merged_in_form(copy, name)) is not None:
            (copy.folder / name).write_bytes(code)
            outcome.reformed.append(name)
            copy.ask("add", "--force", "--", f":(literal){name}")
        elif found == {1, 2, 3} and settle(copy.folder / name):
            copy.ask("add", "--force", "--", f":(literal){name}")
        else:
            outcome.conflicts[name] = _words(copy.folder / name, found)
    (copy.folder / FILE).write_bytes(answers)
    copy.ask("add", "--force", "--", FILE)
    return outcome


def _unmerged(copy: Copy) -> dict[str, set[int]]:
    """What git could not merge: {name: stages}, 1 the old render, 2 the project, 3 the new one."""
    found: dict[str, set[int]] = {}
    for entry in filter(None, copy.ask("ls-files", "--unmerged", "-z").split("\0")):
        facts, _, name = entry.partition("\t")
        found.setdefault(name, set()).add(int(facts.split()[2]))
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
